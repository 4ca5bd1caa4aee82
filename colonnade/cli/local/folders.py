# SPDX-License-Identifier: Apache-2.0
"""Where a system on this machine keeps its things; the one place that decides.

The state folder holds what must last. The run folder holds sockets and records of processes; its
path is short, because the path of a unix socket has at most 107 bytes, and it is ours alone.
"""

import os
import shutil
import stat
from hashlib import sha256
from pathlib import Path

from colonnade.domain.errors import Broken
from colonnade.runtime import host_ids


def state_dir(wanted: Path | None = None) -> Path:
    """`--state`, else $COLONNADE_STATE, else a system-wide or a personal folder."""
    if wanted is not None:
        return wanted.resolve()
    if named := os.environ.get("COLONNADE_STATE"):
        return Path(named).resolve()
    if os.geteuid() == 0:
        return Path("/var/lib/colonnade")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "colonnade"


def config_file(state: Path) -> Path:
    return state / "colonnade.toml"


def run_dir_path(state: Path) -> Path:
    """Where the run folder of this state is, whether it exists or not."""
    return _base() / sha256(str(state.resolve()).encode()).hexdigest()[:12]


def run_dir(state: Path) -> Path:
    """The run folder of this state, made when it is not there.

    Raises Broken when somebody else owns it: in /tmp anybody may have made it first."""
    for folder in (_base(), run_dir_path(state)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise Broken(f"{folder} belongs to another user: ask its owner or root to remove it")
        if host_ids.of(state) is not None:
            folder.chmod(0o711)  # the way to sockets, whose own modes say who may
    return run_dir_path(state)


def remove_run_dir(state: Path) -> None:
    """Nothing of it is left afterwards; the folder above goes with the last one in it."""
    shutil.rmtree(run_dir_path(state), ignore_errors=True)
    try:
        _base().rmdir()
    except OSError:
        return  # another system's run folder is still in it


def _base() -> Path:
    if os.geteuid() == 0:
        return Path("/run/colonnade")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK):  # after `su` it may be another user's
        return Path(runtime) / "colonnade"
    return Path(f"/tmp/colonnade-{os.geteuid()}")  # noqa: S108 -- run_dir checks whose it is

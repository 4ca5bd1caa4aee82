# SPDX-License-Identifier: Apache-2.0
"""What an amphora sees of the machine: a root of its own, read only, made once for all of them.

It has the system's programs and libraries, our own, six devices and a few files of `/etc`; nothing
else of the machine is in it, so there is nothing to hide and nothing to uncover. Each amphora adds
its own /proc and /run. Invariant: everything in it is mounted read only and gives no rights.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from colonnade.domain.errors import Broken
from colonnade.drivers.compute.namespaces import mounts
from colonnade.runtime import program

SYSTEM: Final = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store")
SCRATCH: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - the amphora's own
DEVICES: Final = ("null", "zero", "full", "random", "urandom")
OWN: Final = ("proc", "run", "mnt")  # `mnt`: where the old root is for a moment
BOUND: Final = (
    *("etc/alternatives", "etc/ssl/certs", "etc/ld.so.cache", "etc/ld.so.conf.d"),
    *("sys/fs/cgroup/memory", "sys/fs/cgroup/unified"),  # how much memory is left
)
COPIED: Final = ("hosts", "resolv.conf", "nsswitch.conf", "services", "protocols", "localtime")
ACCOUNTS: Final = {
    "passwd": "root:x:0:0::/:/bin/sh\nhaproxy:x:1:1::/:/bin/false\n"
    "nobody:x:65534:65534::/:/bin/false\n",
    "group": "root:x:0:\nhaproxy:x:1:\nnogroup:x:65534:\n",
}


def build(place: Path, needed: Sequence[Path], hidden: Sequence[Path]) -> None:
    """Mount it at the place, for this thread and all that it starts, and for nobody else.

    `needed`: files and folders that amphorae need beside ours. `hidden`: what must not be seen
    even if it lies in one of those. Raises Broken."""
    before = os.umask(0o022)
    try:
        mounts.of_our_own()
        place.mkdir(exist_ok=True)
        mounts.tmpfs(place, "size=4m,mode=755")
        _furnish(place)
        own = program.places()
        for path in (*own, *_links(Path(sys.executable)), *needed):
            _put(place, path)
        for name in SCRATCH:
            if not _within(place, Path(name)).exists():  # else our program lies there
                _within(place, Path(name)).parent.mkdir(exist_ok=True)
                _within(place, Path(name)).symlink_to("/run/tmp")
        for path in hidden:
            inside = _within(place, path)
            if inside.is_dir() and not any(one.is_relative_to(path) for one in own):
                mounts.tmpfs(inside, "size=4k,mode=000")
        mounts.make_read_only(place)
    except OSError as error:
        raise Broken(f"the root folder of amphorae cannot be made: {error}") from error
    finally:
        os.umask(before)


def check_readable_by_all() -> None:
    """Raises Broken where our program is root's alone: amphorae that root starts are not root."""
    for path in (Path(__file__), Path(os.__file__), Path(sys.executable)):
        if not path.stat().st_mode & stat.S_IROTH:
            raise Broken(
                f"{path} can be read by its owner only, and amphorae run as other ids: "
                f"`chmod -R go+rX {path.parent}` and its like for all of the installation"
            )


def needs_of(binary: Path) -> Iterator[Path]:
    """The program's own file and the shared libraries that it loads."""
    yield binary
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(
            ["ldd", str(binary)], capture_output=True, text=True, timeout=10, check=False
        ).stdout
        yield from (Path(word) for word in said.split() if word.startswith("/"))


def _furnish(place: Path) -> None:
    for name in (*SYSTEM, *BOUND):
        path = Path("/") / name
        if path.is_symlink():
            (place / name).symlink_to(path.readlink())
        elif path.exists():
            _put(place, path)
    for name in OWN:
        (place / name).mkdir()
    (place / "dev").mkdir()
    for name in DEVICES:
        _put(place, Path("/dev") / name)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0")):
        (place / "dev" / name).symlink_to(target)
    for name in COPIED:
        with contextlib.suppress(OSError):
            shutil.copyfile(f"/etc/{name}", place / "etc" / name)
    for name, text in ACCOUNTS.items():
        (place / "etc" / name).write_text(text)


def _put(place: Path, path: Path) -> None:
    """The same path inside, unless it is there already with what it lies in."""
    real = path.resolve()
    for name in dict.fromkeys((real, path)):
        inside = _within(place, name)
        if inside.exists():
            continue
        inside.parent.mkdir(parents=True, exist_ok=True)
        if real.is_dir():
            inside.mkdir()
        else:
            inside.touch()
        mounts.bind(real, inside)


def _links(path: Path) -> Iterator[Path]:
    """Each further file that a chain of symbolic links leads over."""
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path.parent.resolve() / path.name


def _within(place: Path, path: Path) -> Path:
    return place / path.relative_to("/")

# SPDX-License-Identifier: Apache-2.0
"""The ids that processes of the control plane run as, and the files that each may read.

Started by root, each is an id of its own that no account has, without any right and without a way
to one; all of them are in one group. Files stay root's: what one office needs is readable by its
own group, what all need by the common one. Started by anybody else they are that user, for there
is no other. Modes are set at each start, so a state folder of an earlier release needs nothing.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from colonnade.domain.errors import Invalid
from colonnade.runtime import host_ids
from colonnade.runtime.as_id import Who, as_id
from colonnade.runtime.config import Config
from colonnade.runtime.host_ids import HostIds

OWN: Final = {
    "api": ["api.pem"],
    "health": ["health.pem"],
    "notifier": ["notifier.pem"],
    "controller": ["controller.pem", "ca-key.pem"],  # it issues the amphorae's certificates
}
NETWORK_RIGHTS: Final = (
    *("net_admin", "sys_admin"),  # links, namespaces, mounts
    "net_raw",  # to ask the machine's own wires whether somebody has an address
    *("setuid", "setgid", "setpcap"),  # it starts programs as other ids, with fewer rights
    *("kill", "sys_ptrace"),  # to end them, and to open their namespaces
    "chown",  # its socket is the control plane's
    "setfcap",  # an ordinary user's lab: what is root there is root of an amphora as well
)
SHARED: Final = ("ca.pem", "master.key", "database.password")


def of_office(name: str, argv: Sequence[str], config: Config, file: Path) -> list[str]:
    """The command line that runs the program as that office. `file`: the configuration's."""
    ids = host_ids.of(config.state_dir)
    if ids is None:
        return ["setpriv", "--no-new-privs", "--", *argv]
    readable = [config.pki_dir, file, *_named(config)]
    who = Who(id=ids.office(name), group=ids.control, readable=readable, on_end="TERM")
    return as_id(who, argv)


def of_network(argv: Sequence[str]) -> list[str]:
    """The command line of the network daemon: root of the lab, with the rights that it names."""
    rights = ",".join(("-all", *(f"+{name}" for name in NETWORK_RIGHTS)))
    return ["setpriv", "--no-new-privs", f"--bounding-set={rights}", "--inh-caps=-all", "--", *argv]


def hand_out(config: Config, file: Path) -> None:
    """Let each office read what it needs, and only that. Raises Invalid for files of the
    operator's that only root may read."""
    ids = host_ids.of(config.state_dir)
    if ids is None:
        return
    for path in _named(config):
        wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        if path.exists() and path.stat().st_mode & wanted != wanted:
            raise Invalid(
                f"{path} can be read by its owner only, and what needs it does not run as root: "
                f"`chmod -R o+rX {path}`"
            )
    _give(file, ids.control, 0o640)
    if not config.pki_dir.exists():
        return
    config.pki_dir.chmod(0o711)
    for path, group in _files(config.pki_dir, ids):
        if path.exists():
            _give(path, group, 0o640)


def _files(pki: Path, ids: HostIds) -> Iterator[tuple[Path, int]]:
    yield from ((pki / name, ids.control) for name in SHARED)
    for office, names in OWN.items():
        yield from ((pki / name, ids.office(office)) for name in names)


def _named(config: Config) -> list[Path]:
    """Files that the configuration names, wherever they lie."""
    named = [config.templates_dir, config.api.policy_file, *_of_tls(config.database_url)]
    haproxy = Path(config.haproxy) if config.haproxy.startswith("/") else None
    return [path for path in (*named, haproxy) if path is not None and path.exists()]


def _of_tls(database_url: str) -> list[Path]:
    """Certificates by which the database's servers are known."""
    if "ssl" not in database_url:
        return []
    from psycopg.conninfo import conninfo_to_dict  # large

    said = conninfo_to_dict(database_url)
    return [Path(str(said[name])) for name in ("sslrootcert", "sslcert", "sslcrl") if name in said]


def _give(path: Path, group: int, mode: int) -> None:
    os.chown(path, os.geteuid(), group)
    path.chmod(mode)

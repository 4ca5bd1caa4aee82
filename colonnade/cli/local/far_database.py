# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of the operator's own, which may be on another machine: what is said of it is looked
at, its password is taken over, and those who do not get there by themselves are given a way.

The controller and the health process are on the amphorae's network, which leads to amphorae alone.
The relay leads them to the database's servers and to nothing else.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from colonnade.cli.local.children import colonnade
from colonnade.cli.local.metrics_places import FILES_ABOVE
from colonnade.domain.errors import Invalid
from colonnade.runtime import host_ids
from colonnade.runtime.as_id import Who, as_id
from colonnade.runtime.config import RELAY, RELAY_SOCKET, Config
from colonnade.runtime.files import replace_file

PASSWORD: Final = "database.password"  # noqa: S105 - a file beside the keys
RELAY_PATH: Final = "relay.socket"  # below the run folder
PORT_LEAST: Final = 1024  # below, only root may listen, and no process of ours is root
BACKLOG: Final = 64


def check_database(url: str, password_file: Path | None) -> None:
    """Raises Invalid for what the processes could not use. Says no word of the string, which may
    hold a password."""
    from psycopg.conninfo import conninfo_to_dict  # large

    from colonnade.store.postgres.places import password_in, servers

    if not url:
        if password_file is not None:
            raise Invalid("--database-password-file is for --database")
        return
    far = servers(url)
    low = next((one for one in far if one.port < PORT_LEAST), None)
    if low is not None:
        raise Invalid(f"--database: the port of {low} is below {PORT_LEAST}: give it another")
    if conninfo_to_dict(url).get("passfile"):
        raise Invalid(
            "--database: libpq reads a passfile only for its owner, and each process is another "
            "user: give a file with the password alone, by --database-password-file"
        )
    if password_file is not None:
        try:
            password_in(password_file)
        except (OSError, ValueError) as error:
            raise Invalid(f"--database-password-file {password_file}: {error}") from error


def keep_password(given: Path | None, pki: Path) -> Path | None:
    """Where the processes read it."""
    if given is None:
        return None
    from colonnade.store.postgres.places import password_in

    kept = pki / PASSWORD
    pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(kept, f"{password_in(given)}\n")
    return kept


def far_servers(config: Config) -> list[str]:
    """Those that only this machine's own network leads to, HOST:PORT."""
    from colonnade.store.postgres.places import servers  # large

    return [str(one) for one in servers(config.database_url)]


class RelayPlace:
    """Where the relay takes what is lent to it. The socket is the supervisor's, so it is there
    while the relay is started again."""

    def __init__(self, config: Config, wanted: bool) -> None:
        self._config = config
        self._path = config.run_dir / RELAY_PATH
        self._socket: socket.socket | None = None
        self._wanted = wanted

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        if not self._wanted:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as low:
            low.bind(str(self._path))
            self._path.chmod(0o600)
            ids = host_ids.of(self._config.state_dir)
            if ids is not None:
                os.chown(self._path, os.geteuid(), ids.control)
                self._path.chmod(0o660)
            low.listen(BACKLOG)
            file = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, FILES_ABOVE)
            self._socket = socket.socket(fileno=file)

    async def stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            with contextlib.suppress(OSError):
                self._path.unlink()

    def of_relay(self) -> Mapping[str, int]:
        """The socket, by the name of the variable that tells it; nothing where none is needed."""
        return {RELAY_SOCKET: self._socket.fileno()} if self._socket is not None else {}

    def of_others(self) -> Mapping[str, str]:
        """What those in the lab are told."""
        return {RELAY: str(self._path)} if self._socket is not None else {}


def of_relay(config: Config) -> list[str]:
    """Its command line: an id of its own, which can read nothing that is another's."""
    argv: Sequence[str] = colonnade("relay", *far_servers(config))
    ids = host_ids.of(config.state_dir)
    if ids is None:
        return ["setpriv", "--no-new-privs", "--", *argv]
    own = ids.office("relay")
    return as_id(Who(id=own, group=own, on_end="TERM"), argv)

# SPDX-License-Identifier: Apache-2.0
"""Where a connection string leads, and the string that a process uses.

The password may be in a file of its own, so that the configuration and command lines have none.
Nothing here connects, and no string of a caller's gets into a message: it may hold a password.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from colonnade.domain.addresses import endpoint
from colonnade.domain.errors import Broken, Invalid
from colonnade.runtime.config import Config
from colonnade.runtime.files import Reread

PORT: Final = 5432
PASSWORD_BYTES_MAX: Final = 1000
LOCAL: Final = ("/", "@")  # a folder, or an abstract name, of a unix socket


class Server(msgspec.Struct, frozen=True):
    """One that is reached by TCP. `place`: among those of its connection string."""

    place: int
    host: str  # a name or an address
    port: int

    def __str__(self) -> str:
        return endpoint(self.host, self.port)


def login(config: Config) -> Callable[[], str]:
    """The connection string of now: the password is read again when its file has changed. Raises
    Broken when the file cannot be used."""
    url, file = config.database_url, config.database_password_file
    if file is None:
        return lambda: url
    try:
        return Reread(lambda: with_password(url, file), file)
    except (OSError, ValueError) as error:
        raise Broken(f"the database's password cannot be read from {file}: {error}") from error


def with_password(url: str, file: Path | None) -> str:
    """Raises OSError, ValueError."""
    return make_conninfo(url, password=password_in(file)) if file is not None else url


def password_in(file: Path) -> str:
    """Raises OSError, ValueError."""
    found = file.read_bytes()[: PASSWORD_BYTES_MAX + 2].rstrip(b"\r\n")
    if not 0 < len(found) <= PASSWORD_BYTES_MAX or b"\n" in found or b"\0" in found:
        raise ValueError(f"a password is one line of 1 to {PASSWORD_BYTES_MAX} bytes")
    return found.decode()


def servers(url: str) -> list[Server]:
    """Those that are reached by TCP, in the order in which they are tried. Raises Invalid."""
    return [
        Server(place, address or host, port)
        for place, (host, address, port) in enumerate(_listed(_read(url)))
        if address or (host and not host.startswith(LOCAL))
    ]


def by_way_of(url: str, addresses: Mapping[int, str]) -> str:
    """The same servers, each asked for at another address. Their names stay, for TLS and password
    files go by those; so do their ports. `addresses`: by `Server.place`."""
    listed = _listed(_read(url))
    led = ",".join(addresses.get(place, address) for place, (_, address, _) in enumerate(listed))
    return make_conninfo(url, hostaddr=led)


def _listed(said: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """As libpq pairs them: hosts, addresses and ports."""
    hosts, addresses, ports = (
        said.get(name, "").split(",") for name in ("host", "hostaddr", "port")
    )
    number = max(len(hosts), len(addresses))
    hosts, addresses = (words if words != [""] else words * number for words in (hosts, addresses))
    ports = ports if len(ports) > 1 else ports * number
    if not len(hosts) == len(addresses) == len(ports):
        raise Invalid("the database's connection string has lists of different lengths")
    for host, address, port in zip(hosts, addresses, ports, strict=True):
        yield host, address, int(port or PORT)


def _read(url: str) -> Mapping[str, str]:
    try:
        said = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        for port in said.get("port", "").split(","):
            int(port or PORT)
    except (psycopg.ProgrammingError, ValueError) as error:
        raise Invalid(
            "the database's connection string cannot be read: it is a libpq one, as in "
            "postgresql://user@db.example.org/colonnade; signs such as @ : / in a name or a "
            "password are written %40 %3A %2F"
        ) from error
    return said

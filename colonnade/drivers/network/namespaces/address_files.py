# SPDX-License-Identifier: Apache-2.0
"""The address book on disk: one small file for each network, each port and each route, and for what
leads to a port.

Invariant: a file is there in whole or not at all, also after a loss of power, and one change
touches one file. Where a port is plugged is kept too: for a daemon that starts again beside its
machines, and for one that starts them again after a boot. A file that
cannot be read is passed over: the controller makes its port again.
"""

from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from colonnade.domain.ids import PortId
from colonnade.drivers.network.namespaces.address_book import NetworkRecord
from colonnade.drivers.network.namespaces.port_forwards import Forwarded
from colonnade.drivers.network.namespaces.route_book import RouteRecord
from colonnade.drivers.network.protocol import Port
from colonnade.runtime.files import replace_file

log = structlog.get_logger()
T = TypeVar("T")


class AddressFiles:
    def __init__(self, folder: Path) -> None:
        self._networks = folder / "networks"
        self._ports = folder / "ports"
        self._routes = folder / "routes"
        self._forwards = folder / "forwards"
        for place in (self._networks, self._ports, self._routes, self._forwards):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            for torn in place.glob("*.new"):  # a daemon was killed while it wrote
                torn.unlink()

    def networks(self) -> list[NetworkRecord]:
        return _read_all(self._networks, NetworkRecord)

    def ports(self) -> list[Port]:
        return _read_all(self._ports, Port)

    def routes(self) -> list[RouteRecord]:
        return _read_all(self._routes, RouteRecord)

    def forwards(self) -> list[Forwarded]:
        return _read_all(self._forwards, Forwarded)

    def put_network(self, record: NetworkRecord) -> None:
        _write(self._networks / f"{record.name}.json", record)

    def put_port(self, port: Port) -> None:
        _write(self._ports / f"{port.id}.json", port)

    def drop_port(self, port_id: PortId) -> None:
        (self._ports / f"{port_id}.json").unlink(missing_ok=True)

    def put_route(self, record: RouteRecord) -> None:
        _write(self._routes / f"{record.number}.json", record)

    def drop_route(self, record: RouteRecord) -> None:
        (self._routes / f"{record.number}.json").unlink(missing_ok=True)

    def put_forwards(self, record: Forwarded) -> None:
        _write(self._forwards / f"{record.port_id}.json", record)

    def drop_forwards(self, port_id: PortId) -> None:
        (self._forwards / f"{port_id}.json").unlink(missing_ok=True)


def _write(path: Path, value: msgspec.Struct) -> None:
    replace_file(path, msgspec.json.encode(value).decode())


def _read_all(folder: Path, kind: type[T]) -> list[T]:
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=kind))
        except msgspec.DecodeError as error:
            log.warning("address book: file passed over", file=str(path), reason=str(error))
    return found

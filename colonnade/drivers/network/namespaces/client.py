# SPDX-License-Identifier: Apache-2.0
"""The network driver as controllers and the API use it: calls to the network daemon.

Safe to repeat, as the daemon is. It keeps no state but a connection, and makes that one in the
event loop that first calls it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from colonnade.domain.ids import AmphoraId, PortId, SubnetId
from colonnade.drivers.network.namespaces.wire import (
    Connection,
    Forwards,
    Host,
    HostWish,
    Plug,
    Range,
)
from colonnade.drivers.network.protocol import (
    Forward,
    Forwarder,
    Network,
    Port,
    PortWish,
    Route,
    Router,
    Subnet,
    Taken,
)


class RouterClient:
    """The router's part. Controllers alone may change it."""

    def __init__(self, url: str, identity_file: Path, ca_file: Path) -> None:
        self._connection = Connection(url, identity_file, ca_file)

    async def close(self) -> None:
        await self._connection.close()

    async def routes(self) -> Sequence[Route]:
        return await self._connection.call("GET", "/v1/routes", list[Route])

    async def route(self, destination: str) -> Route:
        return await self._connection.call("GET", _route(destination), Route)

    async def set_route(self, route: Route) -> Route:
        return await self._connection.call("PUT", _route(route.destination), Route, route)

    async def delete_route(self, destination: str) -> None:
        await self._connection.call("DELETE", _route(destination), type(None))


class ForwarderClient(RouterClient):
    """The forwarder's part too."""

    @property
    def forwarder(self) -> Forwarder:
        return self

    async def taken(self, subnet_id: SubnetId, address: str) -> Sequence[Taken]:
        place = f"/v1/subnets/{quote(subnet_id, safe='')}/addresses/{quote(address, safe='')}"
        return await self._connection.call("GET", f"{place}/taken", list[Taken])

    async def set_forwards(self, port_id: PortId, forwards: Sequence[Forward]) -> None:
        body = Forwards(tuple(forwards))
        await self._connection.call("PUT", f"{_port(port_id)}/forwards", type(None), body)


class NetworkClient(ForwarderClient):
    name = "namespaces"

    @property
    def router(self) -> Router:
        return self

    @property
    def cloud(self) -> None:
        """None: VIPs' ports are plugged themselves."""

    async def networks(self) -> Sequence[Network]:
        return await self._connection.call("GET", "/v1/networks", list[Network])

    async def subnets(self) -> Sequence[Subnet]:
        return await self._connection.call("GET", "/v1/subnets", list[Subnet])

    async def lb_subnet(self) -> Subnet:
        return await self._connection.call("GET", "/v1/lb-subnet", Subnet)

    async def free_addresses(self, subnet_id: SubnetId) -> int:
        path = f"/v1/subnets/{quote(subnet_id, safe='')}/free-addresses"
        return await self._connection.call("GET", path, int)

    async def ports(self) -> Sequence[Port]:
        return await self._connection.call("GET", "/v1/ports", list[Port])

    async def port(self, port_id: PortId) -> Port:
        return await self._connection.call("GET", _port(port_id), Port)

    async def create_port(self, wish: PortWish) -> Port:
        return await self._connection.call("PUT", _port(wish.id), Port, wish)

    async def delete_port(self, port_id: PortId) -> None:
        await self._connection.call("DELETE", _port(port_id), type(None))

    async def plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        return await self._connection.call("PUT", f"{_port(port_id)}/plug", Port, Plug(amphora_id))

    async def unplug(self, port_id: PortId) -> None:
        await self._connection.call("DELETE", f"{_port(port_id)}/plug", type(None))


class LabClient:
    """The lab bench: hosts and further networks. Only the supervisor may."""

    def __init__(self, url: str, identity_file: Path, ca_file: Path) -> None:
        self._connection = Connection(url, identity_file, ca_file)

    async def close(self) -> None:
        await self._connection.close()

    async def hosts(self) -> Sequence[Host]:
        return await self._connection.call("GET", "/v1/lab/hosts", list[Host])

    async def add_host(self, wish: HostWish) -> Host:
        """Raises Conflict when another host of that name runs."""
        return await self._connection.call("PUT", _host(wish.name), Host, wish)

    async def remove_host(self, name: str) -> None:
        """Gone afterwards, with all it ran. No such host: nothing to do."""
        await self._connection.call("DELETE", _host(name), type(None))

    async def add_network(self, name: str, cidr: str, **how: Any) -> Network:
        """One that is not routed is met by what is plugged into it alone. `how`: the other words of
        a `Range`."""
        path = f"/v1/lab/networks/{quote(name, safe='')}"
        return await self._connection.call("PUT", path, Network, Range(cidr, **how))


def _port(port_id: str) -> str:
    return f"/v1/ports/{quote(port_id, safe='')}"


def _route(destination: str) -> str:
    return f"/v1/routes/{quote(destination, safe='')}"


def _host(name: str) -> str:
    return f"/v1/lab/hosts/{quote(name, safe='')}"

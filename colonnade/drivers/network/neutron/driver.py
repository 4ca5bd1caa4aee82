# SPDX-License-Identifier: Apache-2.0
"""The networks of an OpenStack cloud, by Neutron's own API.

Neutron chooses the ids of ports. So a port is known by Neutron's id and by the one that it was
wished with, which its description has: each call takes either. Two that wish the same at once may
make two ports; both then see both, keep the same one and delete the other.

Look-ups by a user's token (`seen_by`) are Neutron's own answer to what that user may see. It has
heard of load balancers as little as any driver.
"""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from colonnade.domain.errors import Invalid, NotFound, OutOfCapacity, Unavailable
from colonnade.domain.ids import AmphoraId, PortId, SubnetId
from colonnade.drivers.network.neutron.wire import (
    OWNER,
    NeutronNetwork,
    NeutronPort,
    NeutronSubnet,
    body_of,
    checked,
    marked,
)
from colonnade.drivers.network.protocol import Network, Port, PortWish, Subnet
from colonnade.drivers.openstack.session import Answer, Session

TYPE: Final = "network"
PAGE: Final = 500
PAGES_MAX: Final = 1000
T = TypeVar("T")


class NeutronNetworks:
    name = "neutron"
    forwarder: Final = None  # each VIP has an address of its own

    def __init__(
        self, session: Session, lb_subnet: SubnetId, *, interface: str = "public", token: str = ""
    ) -> None:
        """The session is its maker's to close. `token`: a user's, whose eyes look-ups are made
        with; "" for this service's own."""
        self._session = session
        self._lb_subnet = lb_subnet
        self._interface = interface
        self._token = token

    @property
    def router(self) -> None:
        """None: the routers of a cloud are not led anywhere yet."""

    def seen_by(self, token: str) -> "NeutronNetworks":
        """The same networks as whoever has this token may see them; "" for this service's own."""
        return NeutronNetworks(
            self._session, self._lb_subnet, interface=self._interface, token=token
        )

    async def networks(self) -> Sequence[Network]:
        lb = await self._own_lb_subnet()
        found = await self._list("networks", NeutronNetwork)
        return [one.ours() for one in found if one.id != lb.network_id]

    async def subnets(self) -> Sequence[Subnet]:
        lb = await self._own_lb_subnet()
        found = await self._list("subnets", NeutronSubnet)
        return [one.ours() for one in found if one.network_id != lb.network_id]

    async def lb_subnet(self) -> Subnet:
        return (await self._own_lb_subnet()).ours()

    async def free_addresses(self, subnet_id: SubnetId) -> int:
        """Of the pools that Neutron gives addresses from by itself."""
        subnet = await self._subnet(subnet_id)
        pools = [(ip_address(p.start), ip_address(p.end)) for p in subnet.allocation_pools]
        room = sum(int(last) - int(first) + 1 for first, last in pools)
        ports = await self._list("ports", NeutronPort, fixed_ips=f"subnet_id={subnet_id}")
        ips = [ip for port in ports for ip in port.fixed_ips if ip.subnet_id == subnet_id]
        taken = [ip_address(ip.ip_address) for ip in ips]
        # One of another version cannot be compared, and is on another subnet.
        return room - sum(any(first <= one <= last for first, last in pools) for one in taken)  # type: ignore[operator]

    async def ports(self) -> Sequence[Port]:
        """Those that are ours; users' own are found one by one."""
        found = await self._list("ports", NeutronPort, device_owner=OWNER)
        return [one.ours() for one in found if one.fixed_ips]

    async def port(self, port_id: PortId) -> Port:
        return (await self._port(port_id)).ours()

    async def create_port(self, wish: PortWish) -> Port:
        if (known := await self._wished(wish.id)) is not None:
            return known.ours()
        subnets = await self._fitting(wish)
        for subnet in subnets:
            try:
                await self._create(wish, subnet)
                break
            except OutOfCapacity:
                if subnet is subnets[-1]:
                    raise
        made = await self._wished(wish.id)
        if made is None:
            raise Unavailable("Neutron does not know the port that it has just made")
        return made.ours()

    async def delete_port(self, port_id: PortId) -> None:
        try:
            port = await self._port(port_id)
        except NotFound:
            return
        await self._delete(port.id)

    async def plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        await self._port(port_id)
        raise NotFound(f"there is no amphora {amphora_id}: no compute service is known here yet")

    async def unplug(self, port_id: PortId) -> None:
        """No port is plugged: there is no compute service to do it."""

    async def _create(self, wish: PortWish, subnet: NeutronSubnet) -> None:
        answer = await self._ask("POST", "ports", body={"port": body_of(wish, subnet)})
        checked(answer).within("port", NeutronPort)

    async def _wished(self, wish_id: PortId) -> NeutronPort | None:
        """The port that was wished with this id. Where several were made, the first stays."""
        found = await self._list(
            "ports", NeutronPort, device_owner=OWNER, description=marked(wish_id)
        )
        if not found:
            return None
        first, *others = sorted(found, key=lambda one: (one.created_at, one.id))
        await asyncio.gather(*(self._delete(one.id) for one in others))
        return first

    async def _delete(self, port_id: PortId) -> None:
        answer = await self._ask("DELETE", f"ports/{port_id}")
        if answer.status != 404:
            checked(answer)

    async def _port(self, port_id: PortId) -> NeutronPort:
        answer = await self._ask("GET", f"ports/{port_id}")
        if answer.status != 404:
            return checked(answer).within("port", NeutronPort)
        found = await self._wished(port_id)
        if found is None:
            raise NotFound(f"there is no port {port_id}")
        return found

    async def _subnet(self, subnet_id: SubnetId) -> NeutronSubnet:
        answer = await self._ask("GET", f"subnets/{subnet_id}")
        if answer.status == 404:
            raise NotFound(f"there is no subnet {subnet_id}")
        return checked(answer).within("subnet", NeutronSubnet)

    async def _own_lb_subnet(self) -> NeutronSubnet:
        return await self.seen_by("")._subnet(self._lb_subnet)

    async def _fitting(self, wish: PortWish) -> list[NeutronSubnet]:
        """Where the port may be, the best first. Raises NotFound, and Invalid for an address that
        is on none of them or that a subnet keeps for itself."""
        if wish.subnet_id is not None:
            among = [await self._subnet(wish.subnet_id)]
            if wish.network_id not in (None, among[0].network_id):
                raise Invalid(f"subnet {wish.subnet_id} is not on network {wish.network_id}")
        else:
            answer = await self._ask("GET", f"networks/{wish.network_id}")
            if answer.status == 404:
                raise NotFound(f"there is no network {wish.network_id}")
            checked(answer)
            among = await self._list("subnets", NeutronSubnet, network_id=str(wish.network_id))
            among.sort(key=lambda one: ":" in one.cidr)
        fitting = [one for one in among if wish.address is None or _has(one, wish.address)]
        if not fitting:
            raise Invalid(f"{wish.address} is no address that a port can have there")
        return fitting

    async def _list(self, plural: str, kind: type[T], **query: str) -> list[T]:
        found: list[T] = []
        marker: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            said = urlencode({**query, "limit": str(PAGE), **marker})
            answer = checked(await self._ask("GET", f"{plural}?{said}"))
            page = answer.within(plural, list[kind])  # type: ignore[valid-type]
            found += page
            if not page or f"{plural}_links" not in answer.read(dict[str, Any]):
                return found
            marker = {"marker": str(getattr(page[-1], "id", ""))}
        raise Unavailable(f"Neutron has more than {PAGES_MAX * PAGE} {plural}")

    async def _ask(self, method: str, path: str, *, body: Any = None) -> Answer:
        root = (await self._session.endpoint(TYPE, interface=self._interface)).removesuffix("/v2.0")
        url = f"{root}/v2.0/{path}"
        if self._token and method == "GET":
            return await self._session.ask_as(self._token, method, url)
        return await self._session.ask(method, url, body=body)


def _has(subnet: NeutronSubnet, address: str) -> bool:
    try:
        one, within = ip_address(address), ip_network(subnet.cidr)
    except ValueError:
        return False
    kept = {within.network_address, within.broadcast_address}
    if subnet.gateway_ip is not None:
        kept.add(ip_address(subnet.gateway_ip))
    return one in within and one not in kept

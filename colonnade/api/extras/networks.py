# SPDX-License-Identifier: Apache-2.0
"""Networks, subnets and ports as Neutron shows them, read-only, from the network driver.

Clients resolve the names of networks and subnets through the endpoint they are given; where
there is no Neutron, that is this API. Nothing can be made or changed here: what clients say of a
VIP's port after a create (its security groups) has no effect, and there are no floating IPs.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from colonnade.api.http.call import DEFAULT_PROJECT, JSON, Call, Route
from colonnade.api.http.decoding import read_flag
from colonnade.api.resources.objects import listed, wrapped
from colonnade.domain.errors import NotFound
from colonnade.domain.ids import NetworkId, PortId, ProjectId, SubnetId, derived_id, is_id, read_id
from colonnade.drivers.network.protocol import (
    Network,
    NetworkDriver,
    Port,
    Subnet,
    is_vip,
    load_balancer_of,
)
from colonnade.store.trees import records

Shown = dict[str, Any]
IGNORED: Final = frozenset({"fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"})


async def list_networks(call: Call) -> JSON:
    return {"networks": _filtered(call, map(show_network, await _known(call).networks()))}


async def list_subnets(call: Call) -> JSON:
    return {"subnets": _filtered(call, map(show_subnet, await _known(call).subnets()))}


async def list_ports(call: Call) -> JSON:
    return {"ports": _filtered(call, await _visible_ports(call))}


async def get_network(call: Call) -> JSON:
    return {"network": _one(call, "Network", map(show_network, await _known(call).networks()))}


async def get_subnet(call: Call) -> JSON:
    return {"subnet": _one(call, "Subnet", map(show_subnet, await _known(call).subnets()))}


async def get_port(call: Call) -> JSON:
    return {"port": _one(call, "Port", await _visible_ports(call))}


class PortUpdate(Struct, frozen=True, kw_only=True):
    """What clients say of the port of a VIP that they have made. Whatever else they say is not
    looked at, as this is not either."""

    security_groups: list[str] | UnsetType | None = UNSET
    allowed_address_pairs: list[dict[str, Any]] | UnsetType | None = UNSET


async def update_port(call: Call) -> JSON:
    call.body(PortUpdate, "port")
    return await get_port(call)


async def list_floating_ips(_call: Call) -> JSON:
    return {"floatingips": []}


class Trusting:
    """Stands in where no network service is configured, for the provider that needs none: every
    id that is asked for is one, and no name is."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids

    async def networks(self) -> Sequence[Network]:
        return [Network(id=NetworkId(one), name="", subnet_ids=()) for one in self._ids]

    async def subnets(self) -> Sequence[Subnet]:
        return [
            Subnet(
                id=SubnetId(one),
                name="",
                network_id=NetworkId(derived_id(one, "network")),
                cidr="198.51.100.0/24",
                gateway_ip=None,
            )
            for one in self._ids
        ]

    async def ports(self) -> Sequence[Port]:
        return [
            Port(
                id=PortId(one),
                network_id=NetworkId(derived_id(one, "network")),
                subnet_id=SubnetId(derived_id(one, "subnet")),
                address="198.51.100.1",
                mac="00:00:00:00:00:00",
            )
            for one in self._ids
        ]


def _known(call: Call) -> NetworkDriver | Trusting:
    if call.site.network is not None:
        return call.site.network
    asked = [*call.query.get("id", ()), *call.places.values()]
    return Trusting([read_id(one) for one in asked if is_id(one)])


async def _visible_ports(call: Call) -> Sequence[Shown]:
    """Those of VIPs that the caller may see, and those of nobody; what else is plugged in is the
    machinery's, and what is on a network that users do not see is nobody's business."""
    known = _known(call)
    networks = {network.id for network in await known.networks()}
    trusts = isinstance(known, Trusting)
    ports = [p for p in await known.ports() if trusts or p.network_id in networks]
    users = [p.id for p in ports if not p.owner]
    owned = [load_balancer_of(p.owner) for p in ports if is_vip(p.owner)]
    projects: Mapping[str, ProjectId] = {}
    if (owned or users) and not trusts:
        async with call.site.database.read() as connection:
            owners = await records.projects_of(connection, [one for one in owned if is_id(one)])
            projects = owners | await records.projects_of_vips(connection, users)
    shown = []
    for port in ports:
        # A port that a user brought has no owner of its own, and may be a VIP all the same.
        project = projects.get(load_balancer_of(port.owner) or port.id)
        is_free = not port.owner and project is None
        if is_free or (project is not None and call.project in (None, project)):
            shown.append(show_port(port, project or DEFAULT_PROJECT))
    return shown


def _one(call: Call, noun: str, found: Any) -> Shown:
    wanted = call.places["object_id"].lower()
    for shown in found:
        if shown["id"] == wanted:
            one: Shown = shown
            return one
    raise NotFound(f"{noun} {wanted} could not be found.")


def _filtered(call: Call, found: Any) -> list[Shown]:
    words = {name: values for name, values in call.query.items() if name not in IGNORED}
    return [shown for shown in found if _fits(shown, words)]


def _fits(shown: Shown, words: Mapping[str, Sequence[str]]) -> bool:
    """Names that an object does not have are ignored, as Neutron's own filters are."""
    return all(
        any(_is(name, shown[name], value) for value in values)
        for name, values in words.items()
        if name in shown
    )


def _is(name: str, shown: Any, value: str) -> bool:
    if isinstance(shown, bool):
        return read_flag(name, value) is shown
    return str(shown).lower() == value.lower()


def show_network(network: Network) -> Shown:
    return {
        "id": network.id,
        "name": network.name,
        "description": "",
        "subnets": network.subnet_ids,
        "status": "ACTIVE",
        "admin_state_up": True,
        "shared": True,
        "router:external": False,
        "mtu": 1500,
        "port_security_enabled": False,
        "availability_zones": [],
        "availability_zone_hints": [],
        "project_id": DEFAULT_PROJECT,
        "tenant_id": DEFAULT_PROJECT,
        "tags": [],
    }


def show_subnet(subnet: Subnet) -> Shown:
    network = ip_network(subnet.cidr)
    return {
        "id": subnet.id,
        "name": subnet.name,
        "description": "",
        "network_id": subnet.network_id,
        "cidr": subnet.cidr,
        "ip_version": network.version,
        "gateway_ip": subnet.gateway_ip,
        "enable_dhcp": False,
        "allocation_pools": [],
        "dns_nameservers": [],
        "host_routes": [],
        "ipv6_address_mode": None,
        "ipv6_ra_mode": None,
        "project_id": DEFAULT_PROJECT,
        "tenant_id": DEFAULT_PROJECT,
        "tags": [],
    }


def show_port(port: Port, project: ProjectId) -> Shown:
    """A VIP's port has the words that Octavia gives it at Neutron."""
    root_id = load_balancer_of(port.owner)
    return {
        "id": port.id,
        "name": f"octavia-lb-{root_id}" if root_id else "",
        "description": "",
        "network_id": port.network_id,
        "mac_address": port.mac,
        "fixed_ips": [{"subnet_id": port.subnet_id, "ip_address": port.address}],
        "status": "ACTIVE" if port.plugged_into is not None else "DOWN",
        "admin_state_up": True,
        "device_id": f"lb-{root_id}" if root_id else "",
        "device_owner": "Octavia" if root_id else "",
        "security_groups": [],
        "project_id": project,
        "tenant_id": project,
        "tags": [],
    }


_TABLE = (
    ("networks", list_networks, get_network, "a network"),
    ("subnets", list_subnets, get_subnet, "a subnet"),
    ("ports", list_ports, get_port, "a port"),
)
ROUTES = [
    route
    for word, many, single, noun in _TABLE
    for route in (
        Route(
            method="GET",
            path=f"/v2/{word}",
            handler=many,
            answers=listed(word, dict[str, Any], None),
            rule="os_load-balancer_api:network:get_all",
            summary=f"List {word}",
        ),
        Route(
            method="GET",
            path=f"/v2/{word}/{{object_id:str}}",
            handler=single,
            answers=wrapped(word.removesuffix("s"), dict[str, Any]),
            rule="os_load-balancer_api:network:get_one",
            summary=f"Show {noun}",
        ),
    )
] + [
    Route(
        method="PUT",
        path="/v2/ports/{object_id:str}",
        handler=update_port,
        answers=wrapped("port", dict[str, Any]),
        takes=PortUpdate,
        wrapper="port",
        example={"security_groups": []},
        rule="os_load-balancer_api:network:put",
        summary="Take what clients say of a VIP's port; nothing changes",
    ),
    Route(
        method="GET",
        path="/v2/floatingips",
        handler=list_floating_ips,
        answers=listed("floatingips", dict[str, Any], None),
        rule="os_load-balancer_api:network:get_all",
        summary="List floating IPs: there are none",
    ),
]

# SPDX-License-Identifier: Apache-2.0
"""The network where amphorae and the control plane meet: it, its subnet, what may come in on it,
and a port of this machine, so that Neutron keeps its address and lets heartbeats through."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any, Final, TypeVar

import msgspec

from colonnade.domain.errors import Broken, Invalid
from colonnade.drivers.network.neutron.driver import neutron_client
from colonnade.drivers.network.neutron.security_groups import (
    CONTROL_PLANE,
    LB_NETWORK,
    SecurityGroups,
    doors_of_amphorae,
    doors_of_control_plane,
)
from colonnade.drivers.network.neutron.wire import checked
from colonnade.drivers.openstack.acts import Acts
from colonnade.drivers.openstack.client import Client
from colonnade.drivers.openstack.session import Session

OWNER: Final = "colonnade:control-plane"
T = TypeVar("T")
LINK: Final = "lb-mgmt0"  # as this machine calls its end


class LbWish(msgspec.Struct, frozen=True, kw_only=True):
    """`subnet`: the id of one that is there; then no network is made. `host`: this machine, as
    Neutron calls it."""

    network: str
    cidr: str
    host: str
    subnet: str = ""


class _Network(msgspec.Struct, frozen=True):
    id: str
    mtu: int = 1500


class _Subnet(msgspec.Struct, frozen=True):
    id: str
    network_id: str
    cidr: str


class _Address(msgspec.Struct, frozen=True):
    subnet_id: str
    ip_address: str


class _Port(msgspec.Struct, frozen=True):
    id: str
    mac_address: str = ""
    device_owner: str = ""
    fixed_ips: list[_Address] = []


class LbNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """What was made: ids, and how this machine gets in."""

    subnet: str
    cidr: str
    mtu: int
    port: str
    mac: str
    address: str

    @property
    def commands(self) -> Sequence[str]:
        """That plug the port into this machine where Neutron's bridge is Open vSwitch's."""
        prefix = ip_network(self.cidr).prefixlen
        ids = f"external_ids:iface-id={self.port} external_ids:attached-mac={self.mac}"
        return (
            f"ovs-vsctl --may-exist add-port br-int {LINK} -- set interface {LINK} type=internal"
            f" external_ids:iface-status=active {ids}",
            f"ip link set {LINK} address {self.mac} mtu {self.mtu} up",
            f"ip address replace {self.address}/{prefix} dev {LINK}",
        )


async def have_lb_network(
    session: Session, wish: LbWish, acts: Acts, *, interface: str
) -> LbNetwork | None:
    """None where it is only said. Raises Invalid, Broken, Forbidden, OutOfCapacity, Unavailable."""
    neutron = neutron_client(session, interface=interface)
    subnet = await _subnet(neutron, wish) if wish.subnet else await _made(neutron, wish, acts)
    if subnet is None:  # all that follows is on it
        for what in (*_groups_of(wish.cidr), f"the port of {wish.host} on it"):
            await acts.create(what, _nothing)
        return None
    groups = SecurityGroups(neutron)
    for name, words in zip((LB_NETWORK, CONTROL_PLANE), _groups_of(subnet.cidr), strict=True):
        await _have_group(groups, name, words, subnet.cidr, acts)
    port = await _have_port(neutron, groups, subnet, wish, acts)
    if port is None:
        return None
    network = checked(await neutron.ask("GET", f"networks/{subnet.network_id}"))
    address = next(one.ip_address for one in port.fixed_ips if one.subnet_id == subnet.id)
    return LbNetwork(
        subnet=subnet.id, cidr=subnet.cidr, mtu=network.within("network", _Network).mtu,
        port=port.id, mac=port.mac_address, address=address,
    )  # fmt: skip


async def _nothing() -> None:
    """What depends on something that is only said to be made."""


def _groups_of(cidr: str) -> tuple[str, str]:
    return (
        f"the security group {LB_NETWORK}: amphorae let the control plane of {cidr} in",
        f"the security group {CONTROL_PLANE}: the control plane lets amphorae of {cidr} in",
    )


async def _subnet(neutron: Client, wish: LbWish) -> _Subnet:
    answer = await neutron.ask("GET", f"subnets/{wish.subnet}")
    if answer.status == 404:
        raise Invalid(f"there is no subnet {wish.subnet}, which --lb-subnet names")
    return checked(answer).within("subnet", _Subnet)


async def _made(neutron: Client, wish: LbWish, acts: Acts) -> _Subnet | None:
    cidr = _cidr(wish.cidr)
    network = await _have_network(neutron, wish.network, acts)
    words = f"its subnet {cidr}"
    if network is None:
        await acts.create(words, _nothing)
        return None
    found = await neutron.all("subnets", _Subnet, network_id=network.id)
    fitting = [one for one in found if one.cidr == cidr]
    if found and not fitting:
        raise Broken(
            f"the network {wish.network} has another subnet, {found[0].cidr}: name it with"
            f" --lb-subnet {found[0].id}, or another network with --lb-network"
        )
    if fitting:
        acts.there(words)
        return fitting[0]
    # Amphorae are born with their addresses, and nothing else is on it: no DHCP, and no way out.
    about = {
        "name": wish.network, "network_id": network.id, "cidr": cidr, "enable_dhcp": False,
        "ip_version": 6 if ":" in cidr else 4, "gateway_ip": None,
    }  # fmt: skip
    return await acts.create(words, lambda: _posted(neutron, "subnet", about, _Subnet))


async def _have_network(neutron: Client, name: str, acts: Acts) -> _Network | None:
    words = f"the network {name}"
    found = await neutron.all("networks", _Network, name=name)
    if len(found) > 1:
        raise Broken(f"there are {len(found)} networks {name}: say which subnet with --lb-subnet")
    if found:
        acts.there(words)
        return found[0]
    about = {"name": name, "description": "colonnade: amphorae and their control plane"}
    return await acts.create(words, lambda: _posted(neutron, "network", about, _Network))


async def _have_group(groups: SecurityGroups, name: str, words: str, cidr: str, acts: Acts) -> None:
    of_amphorae = name == LB_NETWORK
    doors = doors_of_amphorae(cidr) if of_amphorae else doors_of_control_plane(cidr)
    make = groups.of_lb_network if of_amphorae else groups.of_control_plane
    so = await groups.is_so(name, doors)
    if so:
        acts.there(words)
    else:
        await (acts.create if so is None else acts.change)(words, lambda: make(cidr))


async def _have_port(
    neutron: Client, groups: SecurityGroups, subnet: _Subnet, wish: LbWish, acts: Acts
) -> _Port | None:
    name = f"colonnade-{wish.host}"
    words = f"the port of {wish.host} on it"
    found = await neutron.all("ports", _Port, name=name, network_id=subnet.network_id)
    own = [one for one in found if one.device_owner == OWNER]
    if own:
        acts.there(words)
        return own[0]

    async def made() -> _Port:
        about = {
            "name": name, "network_id": subnet.network_id, "device_owner": OWNER,
            "fixed_ips": [{"subnet_id": subnet.id}], "binding:host_id": wish.host,
            "security_groups": [await groups.of_control_plane(subnet.cidr)],
        }  # fmt: skip
        return await _posted(neutron, "port", about, _Port)

    return await acts.create(words, made)


async def _posted(neutron: Client, noun: str, about: dict[str, Any], kind: type[T]) -> T:
    answer = await neutron.ask("POST", f"{noun}s", body={noun: about})
    return checked(answer).within(noun, kind)


def _cidr(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise Invalid(f"'{text}' is no network: write it as 198.18.0.0/16 ({error})") from error

# SPDX-License-Identifier: Apache-2.0
"""Neutron's networks, subnets and ports in our words, and its refusals as our errors.

Only what Colonnade looks at is read. The id that a port of ours was wished with is its description:
Neutron chooses ids itself, and a port whose answer was lost must be found again. So are a carrier's
amphora, its name, and the VIP that it carries, its description: Nova changes owner and device.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from colonnade.domain.errors import (
    ColonnadeError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OutOfCapacity,
    Unavailable,
)
from colonnade.domain.ids import AmphoraId, NetworkId, PortId, SubnetId
from colonnade.drivers.network.protocol import (
    Network,
    Port,
    PortWish,
    Subnet,
    load_balancer_of,
    vip_owner,
)
from colonnade.drivers.openstack.session import Answer

OWNER: Final = "Octavia"  # device_owner of our ports, which the wire contract names
VIP_DEVICE: Final = "lb-"  # begins the device_id of a VIP's port; its load balancer follows
_NAME: Final = "octavia-"
_CARRIER: Final = "octavia-lb-vrrp-"
_AMPHORA: Final = "amphora"
_MARK: Final = "colonnade "
_FULL: Final = frozenset({"IpAddressGenerationFailure", "NoMoreIps", "OverQuota"})
_SUBNET_FULL: Final = "No more IP addresses available"


class NeutronNetwork(msgspec.Struct, frozen=True):
    id: NetworkId
    name: str = ""
    subnets: tuple[SubnetId, ...] = ()

    def ours(self) -> Network:
        return Network(id=self.id, name=self.name, subnet_ids=self.subnets)


class Pool(msgspec.Struct, frozen=True):
    start: str
    end: str


class NeutronSubnet(msgspec.Struct, frozen=True):
    id: SubnetId
    network_id: NetworkId
    cidr: str
    name: str = ""
    gateway_ip: str | None = None
    allocation_pools: list[Pool] = []

    def ours(self) -> Subnet:
        return Subnet(
            id=self.id,
            name=self.name,
            network_id=self.network_id,
            cidr=self.cidr,
            gateway_ip=self.gateway_ip,
        )


class FixedIp(msgspec.Struct, frozen=True):
    subnet_id: SubnetId
    ip_address: str


class Pair(msgspec.Struct, frozen=True):
    ip_address: str


class NeutronPort(msgspec.Struct, frozen=True, kw_only=True):
    id: PortId
    network_id: NetworkId
    mac_address: str = ""
    fixed_ips: list[FixedIp] = []
    device_owner: str = ""
    device_id: str = ""
    name: str = ""
    description: str = ""
    project_id: str | None = None
    created_at: str = ""
    allowed_address_pairs: list[Pair] = []
    security_groups: list[str] = []

    @property
    def is_marked(self) -> bool:
        """Whether one of ours looks like it; whose it is its project tells."""
        return self.description.startswith(_MARK)

    @property
    def wish_id(self) -> PortId | None:
        text = self.description.removeprefix(_MARK)
        return PortId(text) if self.is_marked and not self.is_carrier else None

    @property
    def is_carrier(self) -> bool:
        return self.is_marked and self.name.startswith(_CARRIER)

    @property
    def amphora_id(self) -> AmphoraId | None:
        """Of a port of an amphora's own."""
        kind, _, amphora_id = self.owner.partition(":")
        return AmphoraId(amphora_id) if kind == _AMPHORA and amphora_id else None

    @property
    def owner(self) -> str:
        if self.device_owner == OWNER and self.device_id.startswith(VIP_DEVICE):
            # Users may rename the port of their VIP.
            return vip_owner(self.device_id.removeprefix(VIP_DEVICE))
        if self.is_carrier:
            return f"{_AMPHORA}:{self.name.removeprefix(_CARRIER)}"
        if self.is_marked:
            return self.name.removeprefix(_NAME)
        return self.device_owner or self.device_id

    def ours(self, carrier: "NeutronPort | None" = None) -> Port:
        """`carrier`: the one by which an amphora has the VIP. Raises NotFound for a port without an
        address: nothing can be served on it."""
        if not self.fixed_ips:
            raise NotFound(f"port {self.id} has no address")
        first = self.fixed_ips[0]
        plugged = carrier or self
        return Port(
            id=self.id,
            network_id=self.network_id,
            subnet_id=first.subnet_id,
            address=first.ip_address,
            mac=plugged.mac_address,
            owner=self.owner,
            wish_id=self.wish_id,
            plugged_into=plugged.amphora_id if plugged.device_id else None,
        )


def marked(wish_id: PortId) -> str:
    """The description of the port that was wished with this id."""
    return f"{_MARK}{wish_id}"


def carries(vip: PortId) -> str:
    """The description of each carrier of a VIP's port, told by Neutron's id."""
    return f"{_MARK}carries {vip}"


def body_of(wish: PortWish, subnet: NeutronSubnet, groups: Sequence[str] = ()) -> dict[str, object]:
    """The port as the wire contract has it: owner, name and device of a VIP are what clients and
    operators of Octavia look for."""
    address = {} if wish.address is None else {"ip_address": wish.address}
    balancer = load_balancer_of(wish.owner)
    port: dict[str, object] = {
        "name": f"{_NAME}lb-{balancer}" if balancer else f"{_NAME}{wish.owner}",
        "description": marked(wish.id),
        "network_id": subnet.network_id,
        "fixed_ips": [{"subnet_id": subnet.id, **address}],
        "device_owner": OWNER,
        "device_id": f"{VIP_DEVICE}{balancer}" if balancer else "",
        # A VIP's port is a reservation: what serves has ports of its own, which may use it.
        "admin_state_up": not balancer,
    }
    project = {"project_id": wish.project_id} if wish.project_id else {}
    return port | project | ({"security_groups": list(groups)} if groups else {})


def carrier_of(vip: NeutronPort, amphora_id: AmphoraId, groups: Sequence[str]) -> dict[str, object]:
    """A port of the amphora's own, beside the VIP's, that may have its address."""
    return {
        "name": f"{_CARRIER}{amphora_id}",
        "description": carries(vip.id),
        "network_id": vip.network_id,
        "fixed_ips": [{"subnet_id": vip.fixed_ips[0].subnet_id}],
        "device_owner": OWNER,
        "allowed_address_pairs": [{"ip_address": ip.ip_address} for ip in vip.fixed_ips],
        "security_groups": list(groups),
    }


class _Said(msgspec.Struct, frozen=True):
    type: str = ""
    message: str = ""


def checked(answer: Answer) -> Answer:
    """Raises what Neutron's refusal means here, in its own words."""
    if answer.status < 300:
        return answer
    try:
        said = answer.within("NeutronError", _Said)
    except Unavailable:
        said = _Said(message=f"Neutron answered {answer.status}")
    raise _meant(answer.status, said)


def _meant(status: int, said: _Said) -> ColonnadeError:
    if said.type in _FULL or _SUBNET_FULL in said.message:
        return OutOfCapacity(said.message)
    kinds: dict[int, type[ColonnadeError]] = {
        400: Invalid, 403: Forbidden, 404: NotFound, 409: Conflict,
    }  # fmt: skip
    return kinds.get(status, Unavailable)(said.message)

# SPDX-License-Identifier: Apache-2.0
"""Neutron's networks, subnets and ports in our words, and its refusals as our errors.

Only what Colonnade looks at is read. The id that a port of ours was wished with is its description:
Neutron chooses ids itself, and a port whose answer was lost must be found again.
"""

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
from colonnade.domain.ids import NetworkId, PortId, SubnetId
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
_VIP_DEVICE: Final = "lb-"
_NAME: Final = "octavia-"
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


class NeutronPort(msgspec.Struct, frozen=True):
    id: PortId
    network_id: NetworkId
    mac_address: str = ""
    fixed_ips: list[FixedIp] = []
    device_owner: str = ""
    device_id: str = ""
    name: str = ""
    created_at: str = ""

    def ours(self) -> Port:
        """Raises NotFound for a port without an address: nothing can be served on it."""
        if not self.fixed_ips:
            raise NotFound(f"port {self.id} has no address")
        first = self.fixed_ips[0]
        return Port(
            id=self.id,
            network_id=self.network_id,
            subnet_id=first.subnet_id,
            address=first.ip_address,
            mac=self.mac_address,
            owner=self._owner(),
        )

    def _owner(self) -> str:
        if self.device_owner != OWNER:
            return self.device_owner or self.device_id
        if self.device_id.startswith(_VIP_DEVICE):  # users may rename the port of their VIP
            return vip_owner(self.device_id.removeprefix(_VIP_DEVICE))
        return self.name.removeprefix(_NAME)


def marked(wish_id: PortId) -> str:
    """The description of the port that was wished with this id."""
    return f"colonnade {wish_id}"


def body_of(wish: PortWish, subnet: NeutronSubnet) -> dict[str, object]:
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
        "device_id": f"{_VIP_DEVICE}{balancer}" if balancer else "",
        # A VIP's port is a reservation: what serves has ports of its own, which may use it.
        "admin_state_up": not balancer,
    }
    return port | ({"project_id": wish.project_id} if wish.project_id else {})


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

# SPDX-License-Identifier: Apache-2.0
"""What Neutron lets through to amphorae: a security group for each, and one for the LB network.

Groups are this service's own, and known by their names. An amphora enforces the same by itself; a
group keeps it from packets that would only be dropped there. Whatever an amphora sends may pass.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Final

import msgspec

from colonnade.domain.ids import AmphoraId
from colonnade.drivers.network.neutron.wire import NeutronPort, checked
from colonnade.drivers.network.protocol import Door
from colonnade.drivers.openstack.client import Client
from colonnade.protocol.messages import (
    PORT_AGENT,
    PORT_CONTROLLER,
    PORT_HEALTH,
    PORT_RECEIVERS,
    PORT_TASKS,
)

LB_NETWORK: Final = "octavia-lb-network"
CONTROL_PLANE: Final = "octavia-control-plane"
RECEIVERS_OF_A_HOST: Final = 8  # that are let in, where there are several
_OF_AMPHORA: Final = "octavia-amphora-"
_NUMBERS: Final = {"vrrp": "112"}
_ANYWHERE: Final = ("0.0.0.0/0", "::/0")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    id: str = ""
    direction: str = "ingress"
    ethertype: str
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None

    @property
    def wish(self) -> "Rule":
        """Without its id, and with everywhere said in one way."""
        remote = None if self.remote_ip_prefix in _ANYWHERE else self.remote_ip_prefix
        return msgspec.structs.replace(self, id="", remote_ip_prefix=remote)


class Group(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    security_group_rules: list[Rule] = []


class SecurityGroups:
    def __init__(self, neutron: Client) -> None:
        self._neutron = neutron

    async def of_lb_network(self, cidr: str) -> str:
        """The id of the one that lets the control plane in."""
        return await self._with(LB_NETWORK, doors_of_amphorae(cidr))

    async def of_control_plane(self, cidr: str) -> str:
        """The id of the one that lets amphorae in, to a machine of the control plane."""
        return await self._with(CONTROL_PLANE, doors_of_control_plane(cidr))

    async def is_so(self, name: str, doors: Sequence[Door]) -> bool | None:
        """Whether exactly these doors of the group are open; None: there is no such group."""
        found = await self._named(name)
        return not any(_differences(found[0], doors)) if found else None

    async def of(self, amphora_id: AmphoraId) -> str:
        """The id of the amphora's. A new one lets nobody in."""
        return (await self._group(f"{_OF_AMPHORA}{amphora_id}")).id

    async def open(self, amphora_id: AmphoraId, doors: Sequence[Door]) -> None:
        await self._with(f"{_OF_AMPHORA}{amphora_id}", doors)

    async def delete(self, amphora_id: AmphoraId) -> None:
        """Nobody is in it any more. Raises Conflict while somebody is."""
        for group in await self._named(f"{_OF_AMPHORA}{amphora_id}"):
            answer = await self._neutron.ask("DELETE", f"security-groups/{group.id}")
            if answer.status != 404:
                checked(answer)

    async def ports_of(self, amphora_id: AmphoraId) -> list[NeutronPort]:
        """All that are in the amphora's group."""
        found: list[NeutronPort] = []
        for group in await self._named(f"{_OF_AMPHORA}{amphora_id}"):
            found += await self._neutron.all("ports", NeutronPort, security_groups=group.id)
        return found

    async def _with(self, name: str, doors: Sequence[Door]) -> str:
        """Exactly these doors are open. Those that are new open before others close."""
        group = await self._group(name)
        lacking, superfluous = _differences(group, doors)
        for rule in lacking:
            about = {**_said(rule), "security_group_id": group.id}
            body = {"security_group_rule": about}
            answer = await self._neutron.ask("POST", "security-group-rules", body=body)
            if answer.status != 409:  # another controller was first
                checked(answer)
        for rule in superfluous:
            answer = await self._neutron.ask("DELETE", f"security-group-rules/{rule.id}")
            if answer.status != 404:
                checked(answer)
        return group.id

    async def _group(self, name: str) -> Group:
        """The first of this name; made where there is none."""
        found = await self._named(name)
        if not found:
            about = {"name": name, "description": "colonnade"}
            body = {"security_group": about}
            checked(await self._neutron.ask("POST", "security-groups", body=body))
            found = await self._named(name)
        return found[0]

    async def _named(self, name: str) -> list[Group]:
        found = await self._neutron.all(
            "security-groups", Group, name=name, description="colonnade"
        )
        return sorted(found, key=lambda one: one.id)


def doors_of_amphorae(cidr: str) -> list[Door]:
    """On the LB network."""
    return [
        Door(protocol="tcp", port=PORT_AGENT, sources=(cidr,)),
        Door(protocol="udp", port=PORT_TASKS, sources=(cidr,)),
    ]


def doors_of_control_plane(cidr: str) -> list[Door]:
    """Of each of its machines there: controller and receivers of heartbeats."""
    heard = (PORT_HEALTH, *range(PORT_RECEIVERS, PORT_RECEIVERS + RECEIVERS_OF_A_HOST))
    beats = [Door(protocol="udp", port=port, sources=(cidr,)) for port in heard]
    return [Door(protocol="tcp", port=PORT_CONTROLLER, sources=(cidr,)), *beats]


def lets_amphorae_in(groups: Sequence[Group], cidr: str) -> bool:
    """Whether these groups together open the doors of a machine of the control plane, at least
    with one receiver of heartbeats. Wider rules count."""
    there = [one for group in groups for one in group.security_group_rules]
    return all(
        any(_covers(rule, door, cidr) for rule in there if rule.direction == "ingress")
        for door in doors_of_control_plane(cidr)[:2]
    )


def _covers(rule: Rule, door: Door, cidr: str) -> bool:
    if rule.protocol not in (None, door.protocol):
        return False
    least, most = rule.port_range_min or 0, rule.port_range_max or 65535
    if rule.ethertype != ("IPv6" if ":" in cidr else "IPv4") or not least <= door.port <= most:
        return False
    within = rule.remote_ip_prefix
    if rule.remote_group_id is not None:
        return False  # its members are not looked at
    return within is None or _is_within(cidr, within)


def _is_within(cidr: str, other: str) -> bool:
    inner, outer = ip_network(cidr), ip_network(other, strict=False)
    return inner.version == outer.version and outer.supernet_of(inner)  # type: ignore[arg-type]


def _differences(group: Group, doors: Sequence[Door]) -> tuple[list[Rule], list[Rule]]:
    """The rules that it lacks, and those of its own that are none of these doors'."""
    wanted = {rule for door in doors for rule in _rules(door)}
    there = [rule for rule in group.security_group_rules if rule.direction == "ingress"]
    lacking = sorted(wanted - {one.wish for one in there}, key=repr)
    return lacking, [rule for rule in there if rule.wish not in wanted]


def _rules(door: Door) -> Iterator[Rule]:
    port = door.port or None
    protocol = _NUMBERS.get(door.protocol, door.protocol)
    for source in door.sources or _ANYWHERE:
        ethertype = "IPv6" if ":" in source else "IPv4"
        yield Rule(
            ethertype=ethertype, protocol=protocol, port_range_min=port, port_range_max=port,
            remote_ip_prefix=None if source in _ANYWHERE else source,
        )  # fmt: skip


def _said(rule: Rule) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(rule)
    return {name: value for name, value in found.items() if value not in (None, "")}

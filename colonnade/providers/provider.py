# SPDX-License-Identifier: Apache-2.0
"""What the API asks of a provider, and which providers there are.

A provider objects to a tree before anything is stored: INCOMPATIBLE refuses the change,
INCOMPLETE is stored beside the tree and shown. It also finds the VIP. Providers know neither
the database nor HTTP. `tests/contract/test_providers.py` is the other half of this file.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from colonnade.domain.catalogue import FlavorFacts, Sizing, ZoneFacts
from colonnade.domain.errors import Incompatible, Invalid
from colonnade.domain.fleet import FrontEnd
from colonnade.domain.ids import (
    LoadBalancerId,
    NetworkId,
    PortId,
    QosPolicyId,
    SecurityGroupId,
    SubnetId,
    derived_id,
)
from colonnade.domain.pools import Member
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.drivers.amphora.protocol import Objection, Severity
from colonnade.drivers.network.protocol import Taken


class VipWish(msgspec.Struct, frozen=True, kw_only=True):
    """What the user said of the VIP. At least one of port, network and subnet is named."""

    load_balancer_id: LoadBalancerId
    number: int = 0  # 0: the VIP; from 1: the additional ones
    address: str | None = None
    port_id: PortId | None = None
    network_id: NetworkId | None = None
    subnet_id: SubnetId | None = None
    qos_policy_id: QosPolicyId | None = None
    sg_ids: tuple[SecurityGroupId, ...] = ()
    halves: int = 0  # amphorae that each take an address too, where the VIP's traffic is
    front_end: FrontEnd = FrontEnd.LAYER_2
    floats: bool = False  # one more address moves between them
    project_id: str = ""  # whose it will be
    token: str = ""  # the user's, where the network tells users apart
    is_dry_run: bool = False  # nothing is to be made; an address that is not wished is made up

    def __repr__(self) -> str:
        return f"VipWish({self.load_balancer_id}, {self.number})"

    @property
    def own_port_id(self) -> PortId:
        """Where the user brings no port: named after the load balancer, so that it can be found."""
        number = (str(self.number),) if self.number else ()
        return PortId(derived_id(self.load_balancer_id, "vip", *number))


class Action(StrEnum):
    """What a change would take."""

    BUILD = "build"
    REMOVE = "remove"
    REPLACE = "replace"  # what does not fit another flavor
    RELOAD = "reload"
    RUNTIME = "runtime"  # no reload
    NOTHING = "nothing"


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would mean for what serves it. `diff`: of its configuration, as a unified
    diff."""

    action: Action
    access: bool = False  # who may connect changes, which takes no reload
    diff: str = ""


class Provider(Protocol):
    name: str
    settles_at_once: bool  # True: nothing serves the tree, so there is nothing to wait for
    reads_secrets: bool  # False: any reference to a certificate is taken without a look

    def objections(self, tree: LoadBalancer) -> Sequence[Objection]:
        """Everything wrong with the tree for this provider. Pure and instant."""

    def preview(self, before: LoadBalancer | None, after: LoadBalancer | None) -> Preview | None:
        """What it would take to serve one tree in the place of another. None in the place of a
        tree: there is none. None: there is nothing to be told. Changes nothing."""

    async def allocate_vip(self, wish: VipWish) -> Vip:
        """The VIP as wished, held for this load balancer. May be repeated.

        Raises Invalid for a port, network or subnet that is not there and for an address that
        does not fit, Conflict for one that is taken, Unavailable when waiting may help."""

    async def taken(self, vips: Sequence[Vip]) -> Sequence[Taken]:
        """The ports of these VIPs' addresses that others have. None, and nobody is asked, where
        each VIP has an address of its own."""

    async def check_members(
        self, members: Sequence[Member], beside: Collection[SubnetId] = (), *, token: str = ""
    ) -> None:
        """`beside`: the subnets on which the tree has a VIP or members already. `token`: the
        user's, where the network tells users apart.

        Raises Invalid for a subnet that is not there, for an address that no member has, and for
        subnets that one amphora cannot tell apart; OutOfCapacity for one without a free address."""

    async def check_size(self, vips: Sequence[Vip], size: Sizing) -> None:
        """Whether a load balancer with these VIPs could be of this size instead of its own.

        Raises OutOfCapacity where amphorae would find no addresses of their own."""

    async def release_vip(self, vip: Vip) -> None:
        """Give back what `allocate_vip` made. Nothing there: nothing to do."""

    def validate_flavor(self, data: Mapping[str, Any]) -> FlavorFacts:
        """What a flavor profile's data says. Raises Incompatible for what this provider does not
        know or cannot serve."""

    def flavor_capabilities(self) -> Mapping[str, str] | None:
        """Each key of a flavor profile's data, and what it means. None: knows no flavors."""

    def validate_availability_zone(self, data: Mapping[str, Any]) -> ZoneFacts:
        """As `validate_flavor`, for an availability zone profile's data."""

    def availability_zone_capabilities(self) -> Mapping[str, str] | None:
        """As `flavor_capabilities`. None: knows no availability zones."""


# Suites compare those of the contract's own providers to the letter.
DESCRIPTIONS: Final[dict[str, str]] = {
    "amphora": "The Octavia Amphora driver.",
    "octavia": "Deprecated alias of the Octavia Amphora driver.",
    "noop": "Keeps what is asked for and serves nothing; for tests of the API.",
}


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What operators are told in other words than ours: of each provider by its name, and of each
    key of a flavor's or zone's data."""

    providers: Mapping[str, str] = {}
    flavors: Mapping[str, str] = {}
    zones: Mapping[str, str] = {}


class Providers:
    """The providers that are switched on, by name; two names may mean the same provider."""

    def __init__(
        self, named: Mapping[str, Provider], *, default: str, words: Words | None = None
    ) -> None:
        self._named = named
        self._words = words or Words()
        self.default = default

    def in_words(self, words: Words) -> "Providers":
        """The same, told of in these words."""
        return Providers(self._named, default=self.default, words=words)

    def get(self, name: str) -> Provider:
        """Raises Invalid for a name that is not switched on."""
        provider = self._named.get(name)
        if provider is None:
            raise Invalid(f"Provider '{name}' is not enabled.")
        return provider

    def shown(self) -> list[dict[str, str]]:
        texts = {**DESCRIPTIONS, **self._words.providers}
        return [{"name": name, "description": texts.get(name, name)} for name in self._named]

    def flavor_capabilities(self, name: str) -> Mapping[str, str]:
        """Raises Incompatible for a provider that knows no flavors."""
        found = self.get(name).flavor_capabilities()
        return _told(name, found, self._words.flavors, "it has no flavors")

    def zone_capabilities(self, name: str) -> Mapping[str, str]:
        """Raises Incompatible for a provider that knows no availability zones."""
        found = self.get(name).availability_zone_capabilities()
        return _told(name, found, self._words.zones, "it has no availability zones")

    def lacks(self, tree: LoadBalancer) -> list[tuple[str, str]]:
        """(path, reason) of all that the tree lacks. Raises Incompatible for what can never be
        served."""
        objections = self.get(tree.provider).objections(tree)
        refused = [o for o in objections if o.severity is Severity.INCOMPATIBLE]
        if refused:
            reasons = " ".join(f"{o.path.rpartition('/')[2]}: {o.reason}" for o in refused)
            raise unsupported(tree.provider, reasons)
        return [(o.path, o.reason) for o in objections if o.severity is Severity.INCOMPLETE]

    async def check_members(
        self,
        provider: str,
        members: Iterable[Member],
        beside: Collection[SubnetId] = (),
        *,
        token: str = "",
    ) -> None:
        """Raises Invalid when one names a subnet that is not there, or cannot be where it says;
        OutOfCapacity when its subnet has no address for the amphora."""
        await self.get(provider).check_members(list(members), beside, token=token)

    async def taken(self, provider: str, vips: Sequence[Vip]) -> Sequence[Taken]:
        """The ports of these VIPs' addresses that others have."""
        return await self.get(provider).taken(vips)

    def settles_at_once(self, provider: str) -> bool:
        return self.get(provider).settles_at_once

    def reads_secrets(self, provider: str) -> bool:
        return self.get(provider).reads_secrets


def _told(
    name: str, found: Mapping[str, str] | None, words: Mapping[str, str], lacking: str
) -> Mapping[str, str]:
    if found is None:
        raise lacks_action(name, lacking)
    return {key: words.get(key, text) for key, text in found.items()}


def unsupported(provider: str, option: str) -> Incompatible:
    """The wire contract's words for an option that a provider cannot serve."""
    return Incompatible(f"Provider '{provider}' does not support a requested option: {option}")


def lacks_action(provider: str, action: str) -> Incompatible:
    """The wire contract's words for what a provider has no way to do."""
    return Incompatible(f"Provider '{provider}' does not support a requested action: {action}")

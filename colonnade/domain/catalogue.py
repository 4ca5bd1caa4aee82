# SPDX-License-Identifier: Apache-2.0
"""What an operator offers: flavors and availability zones, each told by a profile.

A profile's data is JSON that its provider understands; it stays text here, as it was given, so
that it reads back as it was written. `FlavorFacts` and `ZoneFacts` hold the keys of it that our
own providers know. Which of them a provider can serve is not known here.
"""

from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from colonnade.domain.attributes import Attribute
from colonnade.domain.errors import Invalid
from colonnade.domain.fleet import FrontEnd, Topology
from colonnade.domain.ids import FlavorProfileId, ZoneProfileId
from colonnade.domain.limits import (
    LOAD_BALANCERS_PER_AMPHORA_MAX,
    PROFILE_DATA_MAX,
    SPARES_PER_FLAVOR_MAX,
    TEXT_MAX,
    Text,
)

NO_ID: Final = "00000000-0000-0000-0000-000000000000"  # contract: reserved, names nothing
DEFAULT_FLAVOR: Final = "default"
ADVERT_MS: Final = 100
AMPHORAE_MIN: Final = 2
AMPHORAE_MAX: Final = 16


Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
# A zone's name is a step of its path.
ZoneName: TypeAlias = Annotated[Name, Meta(pattern=r"^[^/]+$")]
Provider: TypeAlias = Annotated[
    Name, Attribute("For this provider.", option="--provider", refers="provider")
]
Data: TypeAlias = Annotated[
    str,
    Meta(max_length=PROFILE_DATA_MAX),
    Attribute("Settings for the provider, as JSON.", option="--data"),
]
Description: TypeAlias = Annotated[Text, Attribute("What it is for.")]
Enabled: TypeAlias = Annotated[bool, Attribute(option="--enable/--disable")]


class FlavorProfile(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: Annotated[Name, Attribute()]
    provider_name: Provider
    flavor_data: Data


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: Annotated[Name, Attribute()]
    flavor_profile_id: Annotated[
        FlavorProfileId,
        Attribute("Its profile.", option="--profile", refers="flavorprofile", fixed=True),
    ]
    description: Description = ""
    enabled: Enabled = True


class AvailabilityZoneProfile(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: Annotated[Name, Attribute()]
    provider_name: Provider
    availability_zone_data: Data


class AvailabilityZone(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[ZoneName, Attribute(fixed=True)]
    availability_zone_profile_id: Annotated[
        ZoneProfileId,
        Attribute("Its profile.", option="--profile", refers="azprofile", fixed=True),
    ]
    description: Description = ""
    enabled: Enabled = True


class FlavorFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A flavor profile's data, understood. The first five keys are the wire contract's."""

    loadbalancer_topology: Topology = Topology.SINGLE
    compute_flavor: str | None = None
    amp_image_tag: str | None = None
    sriov_vip: bool = False
    allow_member_sriov: bool = False
    spare_pool_size: Annotated[int, Meta(ge=0, le=SPARES_PER_FLAVOR_MAX)] | None = None
    front_end: FrontEnd | None = None  # as the topology has it
    connection_limit_max: Annotated[int, Meta(ge=1)] | None = None
    amphora_driver: str = "haproxy"
    failover_after_s: Annotated[float, Meta(ge=3, le=60)] | None = None
    vrrp_advert_ms: Annotated[int, Meta(ge=20, le=10_000)] = ADVERT_MS
    amphorae: Annotated[int, Meta(ge=AMPHORAE_MIN, le=AMPHORAE_MAX)] | None = None
    max_load_balancers: Annotated[int, Meta(ge=1, le=LOAD_BALANCERS_PER_AMPHORA_MAX)] = 1

    @property
    def is_routed(self) -> bool:
        """What a topology has where nothing is said: several that serve at once need a router."""
        usual = FrontEnd.LAYER_2
        if self.loadbalancer_topology is Topology.ACTIVE_ACTIVE:
            usual = FrontEnd.ROUTED
        return (self.front_end or usual) is FrontEnd.ROUTED

    @property
    def needs_own_spares(self) -> bool:
        """Whether its amphorae differ from any other's, or are kept ready apart."""
        machine = (
            self.compute_flavor,
            self.amp_image_tag,
            self.spare_pool_size,
            self.failover_after_s,
        )
        return any(fact is not None for fact in machine) or self.max_load_balancers > 1


class ZoneFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An availability zone profile's data, understood."""

    compute_zone: str | None = None
    volume_zone: str | None = None
    management_network: str | None = None
    valid_vip_networks: tuple[str, ...] = ()


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """What a flavor makes of a new cluster: its layout, and whose spares it takes."""

    topology: Topology = Topology.SINGLE
    front_end: FrontEnd = FrontEnd.LAYER_2
    amphorae: int = AMPHORAE_MIN  # of ACTIVE_ACTIVE
    advert_ms: int = ADVERT_MS
    flavor: str = DEFAULT_FLAVOR
    per_amphora: int = 1  # how many load balancers of a project share an amphora

    @property
    def addresses(self) -> int:
        """How many amphorae need addresses of their own beside each VIP's."""
        # In layer 2 one alone answers by the VIP's own port.
        alone = self.topology is Topology.SINGLE and self.front_end is FrontEnd.LAYER_2
        return 0 if alone else self.topology.size(self.amphorae)

    @property
    def floats(self) -> bool:
        """Whether one further address moves between them, to which a router leads the VIPs."""
        return self.topology is Topology.ACTIVE_STANDBY and self.front_end is FrontEnd.ROUTED


def read_data(text: str, option: str) -> dict[str, Any]:
    """A profile's data as JSON, not yet understood. Raises Invalid, in the contract's words."""
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{text} is not a valid option for {option}") from error
    if not isinstance(found, dict):
        raise Invalid(f"{text} is not a valid option for {option}")
    return found


def sizing(flavor_id: str, facts: FlavorFacts) -> Sizing:
    return Sizing(
        topology=facts.loadbalancer_topology,
        front_end=FrontEnd.ROUTED if facts.is_routed else FrontEnd.LAYER_2,
        amphorae=facts.amphorae or AMPHORAE_MIN,
        advert_ms=facts.vrrp_advert_ms,
        flavor=flavor_id if facts.needs_own_spares else DEFAULT_FLAVOR,
        per_amphora=facts.max_load_balancers,
    )

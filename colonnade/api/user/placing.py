# SPDX-License-Identifier: Apache-2.0
"""Which provider serves a new load balancer, and what its flavor and zone make of it.

A flavor or a zone must be there, enabled, and of the provider that was asked for. What they say
is settled here: it reaches the cluster as it is stored, and a flavor's profile does not change
while it is in use. A load balancer that exists may get another flavor, but no other zone.
"""

from typing import Any

import msgspec

from colonnade.api.http.call import Call
from colonnade.api.http.decoding import Body
from colonnade.domain.catalogue import DEFAULT_FLAVOR, Sizing, ZoneFacts, read_data, sizing
from colonnade.domain.errors import Invalid, NotFound
from colonnade.domain.fleet import Topology
from colonnade.domain.ids import FlavorId
from colonnade.domain.tree import Vip
from colonnade.providers.provider import Provider, lacks_action
from colonnade.store.catalogue.catalogue import FLAVOR_PROFILES, FLAVORS, ZONE_PROFILES, ZONES
from colonnade.store.rows import flat_rows
from colonnade.store.rows.flat_rows import FlatTable


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, by name or by default."""

    provider: str
    flavor_id: FlavorId | None = None
    availability_zone: str | None = None
    sizing: Sizing = Sizing()
    zone: ZoneFacts = ZoneFacts()

    def check(self, vip: Vip) -> None:
        """Raises Invalid for a VIP on a network that is none of the zone's."""
        allowed = self.zone.valid_vip_networks
        if allowed and vip.network_id not in allowed:
            raise Invalid(
                f"The selected vip_network_id is not allowed in this deployment: {vip.network_id}"
            )


async def choose(call: Call, body: Body) -> Choice:
    """Raises Invalid for what is not there, not enabled or of another provider, and Incompatible
    for what the provider cannot serve."""
    named = body.said_id("flavor_id")
    flavor_id = FlavorId(named) if named is not None else None
    zone: str | None = body.said("availability_zone") or None
    flavor_profile = await _profile(call, FLAVORS, FLAVOR_PROFILES, flavor_id, "flavor")
    zone_profile = await _profile(call, ZONES, ZONE_PROFILES, zone, "availability_zone")
    offered = flavor_profile or zone_profile
    default = offered.provider_name if offered else call.site.providers.default
    name: str = body.said("provider") or default
    provider = call.site.providers.get(name)
    size, zone_facts = _size(call, name, flavor_id, flavor_profile), ZoneFacts()
    if zone is not None:
        if provider.availability_zone_capabilities() is None:
            raise lacks_action(name, "it has no availability zones")
        _check_same(call, provider, zone_profile, f"Availability zone '{zone}'", name)
        data = read_data(zone_profile.availability_zone_data, "availability_zone_data")
        zone_facts = provider.validate_availability_zone(data)
    return Choice(
        provider=name, flavor_id=flavor_id, availability_zone=zone, sizing=size, zone=zone_facts
    )


async def size_of(call: Call, provider: str, flavor_id: FlavorId | None) -> Sizing:
    """What another flavor makes of a load balancer of this provider; None: what is so without one.
    Raises as `choose`."""
    profile = await _profile(call, FLAVORS, FLAVOR_PROFILES, flavor_id, "flavor")
    return _size(call, provider, flavor_id, profile)


def _size(call: Call, name: str, flavor_id: FlavorId | None, profile: Any) -> Sizing:
    provider = call.site.providers.get(name)
    usual = call.site.default_topology
    topology = {"loadbalancer_topology": usual} if usual is not Topology.SINGLE else {}
    if flavor_id is not None:
        _check_same(call, provider, profile, f"Flavor '{flavor_id}'", name)
        data = topology | read_data(profile.flavor_data, "flavor_data")
        return sizing(flavor_id, provider.validate_flavor(data))
    if topology:
        return sizing(DEFAULT_FLAVOR, provider.validate_flavor(topology))
    return Sizing()


async def _profile(
    call: Call, table: FlatTable[Any], profiles: FlatTable[Any], key: str | None, option: str
) -> Any:
    """The profile of what is named; None when nothing is."""
    if key is None:
        return None
    async with call.site.database.read() as connection:
        try:
            offer = (await flat_rows.get(connection, table, key)).value
        except NotFound as error:
            raise Invalid(error.public) from error
        if not offer.enabled:
            raise Invalid(f"The selected {option} is not allowed in this deployment: {key}")
        (column,) = table.refers
        return (await flat_rows.get(connection, profiles, getattr(offer, column))).value


def _check_same(call: Call, provider: Provider, profile: Any, what: str, name: str) -> None:
    """Two names may mean the same provider."""
    if call.site.providers.get(profile.provider_name) is not provider:
        raise Invalid(f"{what} is not compatible with provider '{name}'")

# SPDX-License-Identifier: Apache-2.0
"""What is special about profiles of flavors and availability zones.

A profile is JSON that its provider has accepted; a flavor or zone gives it a name for users. While
one has a profile, what it means does not change.
"""

from collections.abc import Mapping
from typing import Any

from colonnade.api.http.decoding import set_fields
from colonnade.api.resources.flat_routes import Change
from colonnade.domain.catalogue import AvailabilityZoneProfile, FlavorProfile, read_data
from colonnade.providers.provider import Provider
from colonnade.store.catalogue import catalogue
from colonnade.store.rows.flat_rows import FlatTable


async def check_flavor_profile(change: Change[FlavorProfile]) -> Mapping[str, Any]:
    if _matters(change, "flavor_data"):
        data = read_data(change.value.flavor_data, "flavor_data")
        _provider(change).validate_flavor(data)
        await _check_unused(change, catalogue.FLAVORS)
    return {}


async def check_zone_profile(change: Change[AvailabilityZoneProfile]) -> Mapping[str, Any]:
    if _matters(change, "availability_zone_data"):
        data = read_data(change.value.availability_zone_data, "availability_zone_data")
        _provider(change).validate_availability_zone(data)
        await _check_unused(change, catalogue.ZONES)
    return {}


def _matters(change: Change[Any], data: str) -> bool:
    """Whether it is said what the profile means, be it the same as before."""
    return bool({"provider_name", data} & set_fields(change.body).keys())


def _provider(change: Change[Any]) -> Provider:
    return change.call.site.providers.get(change.value.provider_name)


async def _check_unused(change: Change[Any], users: FlatTable[Any]) -> None:
    if change.before is not None:
        await catalogue.check_unused(change.connection, users, change.value.id)

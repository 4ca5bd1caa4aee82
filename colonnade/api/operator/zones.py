# SPDX-License-Identifier: Apache-2.0
"""Availability zones and their profiles: where an operator offers load balancers.

A zone has no id: its name is what users and paths know it by. Otherwise zones are to their
profiles what flavors are to theirs.
"""

from typing import Annotated, TypeAlias
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import changed, given, set_fields
from colonnade.api.operator import offers
from colonnade.api.operator.offers import Data, Name
from colonnade.api.resources.bodies import OptFlag, OptText
from colonnade.api.resources.objects import SAMPLE_ID, listed, wrapped
from colonnade.domain.catalogue import AvailabilityZone, AvailabilityZoneProfile, read_data
from colonnade.domain.ids import new_id
from colonnade.store.catalogue.catalogue import ZONE_PROFILES, ZONES

# A zone's name is a step of its path.
ZoneName: TypeAlias = Annotated[Name, Meta(pattern=r"^[^/]+$")]


class ZoneUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    description: OptText = UNSET
    enabled: OptFlag = UNSET


class ZoneCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: ZoneName
    availability_zone_profile_id: UUID
    description: OptText = UNSET
    enabled: OptFlag = UNSET


class ZoneProfileUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    provider_name: Name | UnsetType | None = UNSET
    availability_zone_data: Data | UnsetType | None = UNSET


class ZoneProfileCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    provider_name: Name
    availability_zone_data: Data


async def list_zones(call: Call) -> JSON:
    return await offers.page(call, ZONES, "availability_zones")


async def create_zone(call: Call) -> JSON:
    body = call.body(ZoneCreate, "availability_zone")
    zone = AvailabilityZone(**given(body, AvailabilityZone))
    return await offers.create(call, ZONES, zone, "availability_zone")


async def show_zone(call: Call) -> JSON:
    return await offers.one(call, ZONES, "availability_zone")


async def update_zone(call: Call) -> JSON:
    body = call.body(ZoneUpdate, "availability_zone")
    return await offers.update(call, ZONES, changed(body, AvailabilityZone), "availability_zone")


async def delete_zone(call: Call) -> JSON:
    await offers.delete(call, ZONES)


async def list_zone_profiles(call: Call) -> JSON:
    return await offers.page(
        call, ZONE_PROFILES, "availability_zone_profiles", "availability_zone_profile_links"
    )


async def create_zone_profile(call: Call) -> JSON:
    body = call.body(ZoneProfileCreate, "availability_zone_profile")
    profile = AvailabilityZoneProfile(id=new_id(), **given(body, AvailabilityZoneProfile))
    _validate(call, profile.provider_name, profile.availability_zone_data)
    return await offers.create(call, ZONE_PROFILES, profile, "availability_zone_profile")


async def show_zone_profile(call: Call) -> JSON:
    return await offers.one(call, ZONE_PROFILES, "availability_zone_profile")


async def update_zone_profile(call: Call) -> JSON:
    body = call.body(ZoneProfileUpdate, "availability_zone_profile")
    offers.refuse_null(body, "name", "provider_name", "availability_zone_data")
    provider, data = await offers.after(
        call, ZONE_PROFILES, body, "provider_name", "availability_zone_data"
    )
    matters = bool({"provider_name", "availability_zone_data"} & set_fields(body).keys())
    if matters:
        _validate(call, provider, data)
    return await offers.update(
        call, ZONE_PROFILES, set_fields(body), "availability_zone_profile", unused=matters
    )


async def delete_zone_profile(call: Call) -> JSON:
    await offers.delete(call, ZONE_PROFILES)


def _validate(call: Call, provider: str, data: str) -> None:
    call.site.providers.get(provider).validate_availability_zone(
        read_data(data, "availability_zone_data")
    )


ZONES_PATH = "/v2/lbaas/availabilityzones"
ZONE_PATH = ZONES_PATH + "/{key:str}"
PROFILES_PATH = "/v2/lbaas/availabilityzoneprofiles"
PROFILE_PATH = PROFILES_PATH + "/{key:str}"
_SAMPLE = {
    "name": "here",
    "provider_name": "amphora",
    "availability_zone_data": '{"compute_zone": "nova"}',
}
_PROFILES = listed(
    "availability_zone_profiles", AvailabilityZoneProfile, "availability_zone_profile_links"
)
_PROFILE_ANSWER = wrapped("availability_zone_profile", AvailabilityZoneProfile)
_ZONE = "os_load-balancer_api:availability-zone:"
_PROFILE = "os_load-balancer_api:availability-zone-profile:"
ROUTES = [
    Route(
        method="GET",
        path=ZONES_PATH,
        handler=list_zones,
        answers=listed("availability_zones", AvailabilityZone),
        summary="List availability zones",
        rule=_ZONE + "get_all",
    ),
    Route(
        method="POST",
        path=ZONES_PATH,
        handler=create_zone,
        answers=wrapped("availability_zone", AvailabilityZone),
        example={"name": "here", "availability_zone_profile_id": SAMPLE_ID},
        takes=ZoneCreate,
        wrapper="availability_zone",
        success=201,
        summary="Offer an availability zone",
        rule=_ZONE + "post",
    ),
    Route(
        method="GET",
        path=ZONE_PATH,
        handler=show_zone,
        answers=wrapped("availability_zone", AvailabilityZone),
        summary="Show an availability zone",
        rule=_ZONE + "get_one",
    ),
    Route(
        method="PUT",
        path=ZONE_PATH,
        handler=update_zone,
        answers=wrapped("availability_zone", AvailabilityZone),
        example={"enabled": False},
        takes=ZoneUpdate,
        wrapper="availability_zone",
        summary="Change a zone's description or whether it may be chosen",
        rule=_ZONE + "put",
    ),
    Route(
        method="DELETE",
        path=ZONE_PATH,
        handler=delete_zone,
        success=204,
        summary="Delete an availability zone that no load balancer has",
        rule=_ZONE + "delete",
    ),
    Route(
        method="GET",
        path=PROFILES_PATH,
        handler=list_zone_profiles,
        answers=_PROFILES,
        summary="List availability zone profiles",
        rule=_PROFILE + "get_all",
    ),
    Route(
        method="POST",
        path=PROFILES_PATH,
        handler=create_zone_profile,
        answers=_PROFILE_ANSWER,
        example=_SAMPLE,
        takes=ZoneProfileCreate,
        wrapper="availability_zone_profile",
        success=201,
        summary="Make an availability zone profile; its provider checks the data",
        rule=_PROFILE + "post",
    ),
    Route(
        method="GET",
        path=PROFILE_PATH,
        handler=show_zone_profile,
        answers=_PROFILE_ANSWER,
        summary="Show an availability zone profile",
        rule=_PROFILE + "get_one",
    ),
    Route(
        method="PUT",
        path=PROFILE_PATH,
        handler=update_zone_profile,
        answers=_PROFILE_ANSWER,
        example={"name": "here"},
        takes=ZoneProfileUpdate,
        wrapper="availability_zone_profile",
        summary="Change a profile; its data only while no zone has it",
        rule=_PROFILE + "put",
    ),
    Route(
        method="DELETE",
        path=PROFILE_PATH,
        handler=delete_zone_profile,
        success=204,
        summary="Delete a profile that no zone has",
        rule=_PROFILE + "delete",
    ),
]

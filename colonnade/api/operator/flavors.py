# SPDX-License-Identifier: Apache-2.0
"""Flavors and flavor profiles: what kinds of load balancer an operator offers.

A profile is JSON that its provider has accepted; a flavor gives it a name for users. While a
flavor has a profile, what it means does not change.
"""

from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import changed, given, set_fields
from colonnade.api.operator import offers
from colonnade.api.operator.offers import Data, Name
from colonnade.api.resources.bodies import OptFlag, OptText
from colonnade.api.resources.objects import SAMPLE_ID, listed, wrapped
from colonnade.domain.catalogue import Flavor, FlavorProfile, read_data
from colonnade.domain.ids import new_id
from colonnade.store.catalogue.catalogue import FLAVOR_PROFILES, FLAVORS


class FlavorUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    description: OptText = UNSET
    enabled: OptFlag = UNSET


class FlavorCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    flavor_profile_id: UUID
    description: OptText = UNSET
    enabled: OptFlag = UNSET


class FlavorProfileUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    provider_name: Name | UnsetType | None = UNSET
    flavor_data: Data | UnsetType | None = UNSET


class FlavorProfileCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    provider_name: Name
    flavor_data: Data


async def list_flavors(call: Call) -> JSON:
    return await offers.page(call, FLAVORS, "flavors")


async def create_flavor(call: Call) -> JSON:
    body = call.body(FlavorCreate, "flavor")
    flavor = Flavor(id=new_id(), **given(body, Flavor))
    return await offers.create(call, FLAVORS, flavor, "flavor")


async def show_flavor(call: Call) -> JSON:
    return await offers.one(call, FLAVORS, "flavor")


async def update_flavor(call: Call) -> JSON:
    body = call.body(FlavorUpdate, "flavor")
    offers.refuse_null(body, "name")
    return await offers.update(call, FLAVORS, changed(body, Flavor), "flavor")


async def delete_flavor(call: Call) -> JSON:
    await offers.delete(call, FLAVORS)


async def list_flavor_profiles(call: Call) -> JSON:
    return await offers.page(call, FLAVOR_PROFILES, "flavorprofiles", "flavorprofile_links")


async def create_flavor_profile(call: Call) -> JSON:
    body = call.body(FlavorProfileCreate, "flavorprofile")
    profile = FlavorProfile(id=new_id(), **given(body, FlavorProfile))
    _validate(call, profile.provider_name, profile.flavor_data)
    return await offers.create(call, FLAVOR_PROFILES, profile, "flavorprofile")


async def show_flavor_profile(call: Call) -> JSON:
    return await offers.one(call, FLAVOR_PROFILES, "flavorprofile")


async def update_flavor_profile(call: Call) -> JSON:
    body = call.body(FlavorProfileUpdate, "flavorprofile")
    offers.refuse_null(body, "name", "provider_name", "flavor_data")
    provider, data = await offers.after(call, FLAVOR_PROFILES, body, "provider_name", "flavor_data")
    matters = bool({"provider_name", "flavor_data"} & set_fields(body).keys())
    if matters:
        _validate(call, provider, data)
    return await offers.update(
        call, FLAVOR_PROFILES, set_fields(body), "flavorprofile", unused=matters
    )


async def delete_flavor_profile(call: Call) -> JSON:
    await offers.delete(call, FLAVOR_PROFILES)


def _validate(call: Call, provider: str, data: str) -> None:
    call.site.providers.get(provider).validate_flavor(read_data(data, "flavor_data"))


FLAVORS_PATH = "/v2/lbaas/flavors"
FLAVOR_PATH = FLAVORS_PATH + "/{key:str}"
PROFILES_PATH = "/v2/lbaas/flavorprofiles"
PROFILE_PATH = PROFILES_PATH + "/{key:str}"
_SAMPLE = {
    "name": "gold",
    "provider_name": "amphora",
    "flavor_data": '{"spare_pool_size": 2}',
}
_FLAVOR = "os_load-balancer_api:flavor:"
_PROFILE = "os_load-balancer_api:flavor-profile:"
ROUTES = [
    Route(
        method="GET",
        path=FLAVORS_PATH,
        handler=list_flavors,
        answers=listed("flavors", Flavor),
        summary="List flavors",
        rule=_FLAVOR + "get_all",
    ),
    Route(
        method="POST",
        path=FLAVORS_PATH,
        handler=create_flavor,
        answers=wrapped("flavor", Flavor),
        example={"name": "gold", "flavor_profile_id": SAMPLE_ID},
        takes=FlavorCreate,
        wrapper="flavor",
        success=201,
        summary="Offer a flavor",
        rule=_FLAVOR + "post",
    ),
    Route(
        method="GET",
        path=FLAVOR_PATH,
        handler=show_flavor,
        answers=wrapped("flavor", Flavor),
        summary="Show a flavor",
        rule=_FLAVOR + "get_one",
    ),
    Route(
        method="PUT",
        path=FLAVOR_PATH,
        handler=update_flavor,
        answers=wrapped("flavor", Flavor),
        example={"enabled": False},
        takes=FlavorUpdate,
        wrapper="flavor",
        summary="Change a flavor's name, description or whether it may be chosen",
        rule=_FLAVOR + "put",
    ),
    Route(
        method="DELETE",
        path=FLAVOR_PATH,
        handler=delete_flavor,
        success=204,
        summary="Delete a flavor that no load balancer has",
        rule=_FLAVOR + "delete",
    ),
    Route(
        method="GET",
        path=PROFILES_PATH,
        handler=list_flavor_profiles,
        answers=listed("flavorprofiles", FlavorProfile, "flavorprofile_links"),
        summary="List flavor profiles",
        rule=_PROFILE + "get_all",
    ),
    Route(
        method="POST",
        path=PROFILES_PATH,
        handler=create_flavor_profile,
        answers=wrapped("flavorprofile", FlavorProfile),
        example=_SAMPLE,
        takes=FlavorProfileCreate,
        wrapper="flavorprofile",
        success=201,
        summary="Make a flavor profile; its provider checks the data",
        rule=_PROFILE + "post",
    ),
    Route(
        method="GET",
        path=PROFILE_PATH,
        handler=show_flavor_profile,
        answers=wrapped("flavorprofile", FlavorProfile),
        summary="Show a flavor profile",
        rule=_PROFILE + "get_one",
    ),
    Route(
        method="PUT",
        path=PROFILE_PATH,
        handler=update_flavor_profile,
        answers=wrapped("flavorprofile", FlavorProfile),
        example={"name": "gold"},
        takes=FlavorProfileUpdate,
        wrapper="flavorprofile",
        summary="Change a flavor profile; its data only while no flavor has it",
        rule=_PROFILE + "put",
    ),
    Route(
        method="DELETE",
        path=PROFILE_PATH,
        handler=delete_flavor_profile,
        success=204,
        summary="Delete a flavor profile that no flavor has",
        rule=_PROFILE + "delete",
    ),
]

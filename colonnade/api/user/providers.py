# SPDX-License-Identifier: Apache-2.0
"""The providers that are switched on, and what their flavors and zones may say.

Which there are is in `providers/`. These lists are short and have no pages; their filters are
exact, and any other word is refused.
"""

from collections.abc import Mapping

from msgspec import Struct

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.lists import BAD_FILTER, PAGING, trimmed
from colonnade.api.resources.objects import listed
from colonnade.domain.errors import Invalid


class Capability(Struct, frozen=True, kw_only=True):
    """A provider, or a word that its profiles may say."""

    name: str
    description: str


async def list_providers(call: Call) -> JSON:
    return {"providers": _chosen(call, call.site.providers.shown())}


async def list_flavor_capabilities(call: Call) -> JSON:
    found = call.site.providers.flavor_capabilities(call.places["provider"])
    return {"flavor_capabilities": _chosen(call, _capabilities(found))}


async def list_zone_capabilities(call: Call) -> JSON:
    found = call.site.providers.zone_capabilities(call.places["provider"])
    return {"availability_zone_capabilities": _chosen(call, _capabilities(found))}


def _capabilities(found: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "description": text} for name, text in found.items()]


def _chosen(call: Call, found: list[dict[str, str]]) -> list[dict[str, str]]:
    if set(call.query) - {"name", "description", "project_id", "tenant_id"} - PAGING:
        raise Invalid(BAD_FILTER)
    for name in ("name", "description"):
        if name in call.query:
            found = [one for one in found if one[name] in call.query[name]]
    return [trimmed(call, one) for one in found]


PROVIDERS_PATH = "/v2/lbaas/providers"
_WORDS = ("name", "description", "fields")
ROUTES = [
    Route(
        method="GET",
        path=PROVIDERS_PATH,
        handler=list_providers,
        answers=listed("providers", Capability, None),
        summary="List providers",
        query=_WORDS,
        rule="os_load-balancer_api:provider:get_all",
    ),
    Route(
        method="GET",
        path=PROVIDERS_PATH + "/{provider:str}/flavor_capabilities",
        handler=list_flavor_capabilities,
        answers=listed("flavor_capabilities", Capability, None),
        summary="List what flavor profiles of a provider may say",
        query=_WORDS,
        rule="os_load-balancer_api:provider-flavor:get_all",
    ),
    Route(
        method="GET",
        path=PROVIDERS_PATH + "/{provider:str}/availability_zone_capabilities",
        handler=list_zone_capabilities,
        answers=listed("availability_zone_capabilities", Capability, None),
        summary="List what availability zone profiles of a provider may say",
        query=_WORDS,
        rule="os_load-balancer_api:provider-availability-zone:get_all",
    ),
]

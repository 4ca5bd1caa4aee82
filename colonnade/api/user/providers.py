# SPDX-License-Identifier: Apache-2.0
"""The providers that are switched on, and what their flavors and zones may say.

Which there are is in `providers/`. These lists are short and have no pages; their filters are
exact, and any other word is ignored.
"""

from collections.abc import Mapping

from msgspec import Struct

from colonnade.api.call import JSON, Call, Route
from colonnade.api.lists import trimmed
from colonnade.api.user.objects import listed
from colonnade.providers.provider import lacks_action


class Capability(Struct, frozen=True, kw_only=True):
    """A provider, or a word that its profiles may say."""

    name: str
    description: str


async def list_providers(call: Call) -> JSON:
    return {"providers": _chosen(call, call.site.providers.shown())}


async def list_flavor_capabilities(call: Call) -> JSON:
    provider = call.site.providers.get(call.places["provider"])
    found = _capabilities(provider.name, provider.flavor_capabilities(), "flavors")
    return {"flavor_capabilities": _chosen(call, found)}


async def list_zone_capabilities(call: Call) -> JSON:
    provider = call.site.providers.get(call.places["provider"])
    capabilities = provider.availability_zone_capabilities()
    found = _capabilities(provider.name, capabilities, "availability zones")
    return {"availability_zone_capabilities": _chosen(call, found)}


def _capabilities(
    provider: str, found: Mapping[str, str] | None, noun: str
) -> list[dict[str, str]]:
    if found is None:
        raise lacks_action(provider, f"it has no {noun}")
    return [{"name": name, "description": text} for name, text in found.items()]


def _chosen(call: Call, found: list[dict[str, str]]) -> list[dict[str, str]]:
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

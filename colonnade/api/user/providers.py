# SPDX-License-Identifier: Apache-2.0
"""The providers that are switched on. Which there are is in `providers/`."""

from colonnade.api.call import JSON, Call, Route


async def list_providers(call: Call) -> JSON:
    return {"providers": call.site.providers.shown()}


ROUTES = [
    Route(
        method="GET",
        path="/v2/lbaas/providers",
        handler=list_providers,
        rule="os_load-balancer_api:provider:get_all",
        summary="List providers",
    )
]

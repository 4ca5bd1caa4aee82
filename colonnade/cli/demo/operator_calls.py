# SPDX-License-Identifier: Apache-2.0
"""What operators alone may ask for: flavors for a run, and the amphorae of a load balancer."""

from collections.abc import Mapping
from typing import Any

import msgspec

from colonnade.cli.rest import Rest


async def make_flavor(rest: Rest, name: str, data: Mapping[str, Any]) -> str:
    """The id of one that says this."""
    text = msgspec.json.encode(data).decode()
    profile = {"name": name, "provider_name": "amphora", "flavor_data": text}
    made = await rest.post("lbaas/flavorprofiles", {"flavorprofile": profile})
    wish = {"name": name, "flavor_profile_id": made["id"]}
    return str((await rest.post("lbaas/flavors", {"flavor": wish}))["id"])


async def allocated(rest: Rest, load_balancer_id: str) -> list[dict[str, Any]]:
    """The amphorae that serve it, as they are shown."""
    query = f"loadbalancer_id={load_balancer_id}&status=ALLOCATED"
    found = await rest.get(f"octavia/amphorae?{query}")
    amphorae: list[dict[str, Any]] = found["amphorae"]
    return amphorae

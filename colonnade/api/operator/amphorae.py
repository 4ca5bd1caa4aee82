# SPDX-License-Identifier: Apache-2.0
"""Amphorae, as the operator API shows them. Nothing is changed here.

The wire contract has other words for an amphora's state than its lifecycle; the table below is
the one place where they meet.
"""

from collections.abc import Mapping
from typing import Any, Final

from colonnade.api.call import JSON, Call, Route
from colonnade.api.user.shown import time
from colonnade.domain.errors import Forbidden, Invalid, NotFound
from colonnade.domain.lifecycle import State
from colonnade.store import amphora_records, trees
from colonnade.store.amphora_records import AmphoraRecord

STATUSES: Final[Mapping[State, str]] = {
    State.BOOTING: "BOOTING",
    State.SPARE: "READY",
    State.SERVING: "ALLOCATED",
    State.FAILED: "ERROR",
    State.RETIRING: "PENDING_DELETE",
    State.GONE: "DELETED",
}
PAGING: Final = frozenset(
    {"limit", "marker", "sort", "sort_key", "sort_dir", "page_reverse", "fields"}
)


async def list_amphorae(call: Call) -> JSON:
    found = [show_amphora(record) for record in await _all(call)]
    for name, values in call.query.items():
        if name in PAGING or name == "project_id":
            continue
        if found and name not in found[0]:
            raise Invalid("One or more arguments are either duplicate or invalid")
        found = [shown for shown in found if str(shown[name]) in values]
    return {"amphorae": found, "amphorae_links": []}


async def get_amphora(call: Call) -> JSON:
    wanted = call.id("amphora_id")
    for record in await _all(call):
        if record.id == wanted:
            return {"amphora": show_amphora(record)}
    raise NotFound(f"Amphora {wanted} not found.")


async def _all(call: Call) -> list[AmphoraRecord]:
    if call.project is not None:
        raise Forbidden(trees.POLICY)  # amphorae are the operator's
    async with call.site.database.read() as connection:
        return await amphora_records.find(connection)


def show_amphora(record: AmphoraRecord) -> dict[str, Any]:
    serving = record.state is State.SERVING
    return {
        "id": record.id,
        "loadbalancer_id": record.load_balancer_id,
        "compute_id": record.id,
        "lb_network_ip": record.lb_network_ip,
        "vrrp_ip": record.vip_address if serving else None,
        "ha_ip": record.vip_address if serving else None,
        "vrrp_port_id": record.vip_port_id if serving else None,
        "ha_port_id": record.vip_port_id if serving else None,
        "cert_expiration": time(record.cert_expiration),
        "cert_busy": False,
        "role": "STANDALONE" if serving else None,
        "status": STATUSES[record.state],
        "vrrp_interface": None,
        "vrrp_id": None,
        "vrrp_priority": None,
        "cached_zone": None,
        "created_at": time(record.created_at),
        "updated_at": time(record.state_since),
        "image_id": None,
        "compute_flavor": record.flavor,
    }


ROUTES = [
    Route(
        method="GET",
        path="/v2/octavia/amphorae",
        handler=list_amphorae,
        rule="os_load-balancer_api:amphora:get_all",
        summary="List amphorae",
    ),
    Route(
        method="GET",
        path="/v2/octavia/amphorae/{amphora_id:str}",
        handler=get_amphora,
        rule="os_load-balancer_api:amphora:get_one",
        summary="Show an amphora",
    ),
]

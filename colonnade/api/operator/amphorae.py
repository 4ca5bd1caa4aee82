# SPDX-License-Identifier: Apache-2.0
"""Amphorae, as the operator API shows them.

They are kept by controllers, which replace what fails; an operator may ask for that too. What is
asked for is written into the store and answered at once, and whoever works on the cluster acts.
"""

from typing import Any

from msgspec import Struct

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.lists import Kind, listed, trimmed
from colonnade.api.resources import objects
from colonnade.api.resources.objects import wrapped
from colonnade.domain.errors import Conflict, NotFound
from colonnade.domain.ids import AmphoraId, LoadBalancerId, read_id
from colonnade.domain.lifecycle import Event, State
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.domain.status import Provisioning
from colonnade.store.fleet import amphora_records, amphora_rows, seats
from colonnade.store.fleet.amphora_records import (
    SOURCE,
    STATUSES,
    VRRP_ID,
    AmphoraRecord,
    AmphoraStatistics,
)
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.times import time
from colonnade.store.queue import work
from colonnade.store.trees import records


class AmphoraObject(Struct, frozen=True, kw_only=True):
    """As it is answered. What has no meaning here is null."""

    id: str
    loadbalancer_id: str | None
    compute_id: str | None
    lb_network_ip: str | None
    vrrp_ip: str | None
    ha_ip: str | None
    vrrp_port_id: str | None
    ha_port_id: str | None
    cert_expiration: str | None
    cert_busy: bool
    role: str | None
    status: str
    vrrp_interface: str | None
    vrrp_id: int | None
    vrrp_priority: int | None
    cached_zone: str | None
    created_at: str
    updated_at: str | None
    image_id: str | None
    compute_flavor: str | None
    # Beyond the contract: the release of its agent, and why it is to be replaced by another.
    agent_version: str | None
    outdated: str | None


async def list_amphorae(call: Call) -> JSON:
    return await listed(call, _KIND, "amphorae")


async def get_amphora(call: Call) -> JSON:
    return {"amphora": trimmed(call, show_amphora(await _record(call)))}


async def delete_amphora(call: Call) -> JSON:
    """One in ERROR is being removed already; this makes sure that it is looked at now."""
    record = await _record(call)
    status = STATUSES[record.state]
    if status != "ERROR":
        raise Conflict(f"Amphora {record.id} is {status}; it can be deleted in ERROR alone.")
    await _wake(call, record)


async def show_amphora_statistics(call: Call) -> JSON:
    record = await _record(call)
    async with call.site.database.read() as connection:
        found = await amphora_records.statistics(connection, record.id)
    if not found:
        raise NotFound(f"Amphora {record.id} has no statistics.")
    return {"amphora_stats": found}


async def configure_amphora(call: Call) -> JSON:
    """Agents fetch what they are to know by themselves; what they serve is looked after now."""
    await _wake(call, await _record(call))


async def fail_over_amphora(call: Call) -> JSON:
    record = await _record(call)
    async with call.site.database.transaction() as connection:
        if record.load_balancer_id is not None:
            await _check_active(connection, record.load_balancer_id)
        if record.is_noop and record.cluster_id is not None:
            await amphora_records.replace_noop(connection, record.cluster_id)
            return
        amphora = await amphora_rows.amphora(connection, AmphoraId(record.id))
        if amphora is not None and amphora.state is State.CARRYING:
            await seats.ask_to_leave(connection, amphora)
            return
        if amphora is None or amphora.state not in (State.SERVING, State.SPARE):
            raise Conflict(f"Amphora {record.id} is {STATUSES[record.state]}, not in use.")
        serves = amphora.state is State.SERVING
        event = Event.ASKED_TO_LEAVE if serves else Event.GIVEN_UP
        await amphora_rows.advance(connection, amphora, event)


async def fail_over_load_balancer(call: Call) -> JSON:
    """Replace all that serve it, by the same reconcile that answers silence. They serve until
    others do."""
    root = await call.record(LOAD_BALANCERS, call.id("load_balancer_id"))
    state = root.provisioning
    if state not in (Provisioning.ACTIVE, Provisioning.ERROR):
        raise Conflict(f"Invalid state {state} of loadbalancer resource {root.value.id}")
    async with call.site.database.transaction() as connection:
        if root.is_noop:
            await amphora_records.replace_noop(connection, root.value.cluster_id)
            return
        for amphora in await amphora_rows.of_cluster(connection, root.value.cluster_id):
            if amphora.state is State.SERVING:
                await amphora_rows.advance(connection, amphora, Event.ASKED_TO_LEAVE)
        await work.mark(connection, f"cluster:{root.value.cluster_id}")


async def _check_active(connection: Connection, root_id: str) -> None:
    root = await records.get(connection, LOAD_BALANCERS, LoadBalancerId(root_id), project=None)
    if root.provisioning is not Provisioning.ACTIVE:
        raise Conflict(f"Load Balancer {root_id} is immutable and cannot be updated.")


async def _record(call: Call) -> AmphoraRecord:
    text = call.places["amphora_id"]
    try:
        amphora_id = read_id(text)
    except ValueError as error:
        raise NotFound(f"Amphora {text} not found.") from error
    async with call.site.database.read() as connection:
        return await amphora_records.get(connection, amphora_id)


async def _wake(call: Call, record: AmphoraRecord) -> None:
    if record.is_noop:
        return
    async with call.site.database.transaction() as connection:
        await work.mark(connection, f"amphora:{record.id}")
        if record.cluster_id is not None:
            await work.mark(connection, f"cluster:{record.cluster_id}")


def show_amphora(record: AmphoraRecord) -> dict[str, Any]:
    serving = record.state is State.SERVING
    half = serving and record.vrrp_priority is not None
    return {
        "id": record.id,
        "loadbalancer_id": record.load_balancer_id,
        "compute_id": record.compute_id,
        "lb_network_ip": record.lb_network_ip,
        "vrrp_ip": record.vrrp_ip if half else record.vip_address if serving else None,
        "ha_ip": record.vip_address if serving else None,
        "vrrp_port_id": record.vrrp_port_id if half else record.vip_port_id if serving else None,
        "ha_port_id": record.vip_port_id if serving else None,
        "cert_expiration": time(record.cert_expiration),
        "cert_busy": False,
        "role": record.role if serving else None,
        "status": STATUSES[record.state],
        "vrrp_interface": None,
        "vrrp_id": VRRP_ID if half else None,
        "vrrp_priority": record.vrrp_priority if half else None,
        "cached_zone": None,
        "created_at": time(record.created_at),
        "updated_at": time(record.state_since),
        "image_id": None,
        "compute_flavor": record.flavor,
        "agent_version": record.agent_version or None,
        "outdated": record.outdated or None,
    }


_KIND = Kind(
    source=SOURCE,
    find=amphora_records.find,
    key=lambda record: record.id,
    show=show_amphora,
)

AMPHORAE_PATH = "/v2/octavia/amphorae"
AMPHORA_PATH = AMPHORAE_PATH + "/{amphora_id:str}"
_RULE = "os_load-balancer_api:amphora:"
ROUTES = [
    Route(
        method="GET",
        path=AMPHORAE_PATH,
        handler=list_amphorae,
        answers=objects.listed("amphorae", AmphoraObject),
        summary="List amphorae",
        rule=_RULE + "get_all",
    ),
    Route(
        method="GET",
        path=AMPHORA_PATH,
        handler=get_amphora,
        answers=wrapped("amphora", AmphoraObject),
        summary="Show an amphora",
        query=("fields",),
        rule=_RULE + "get_one",
    ),
    Route(
        method="DELETE",
        path=AMPHORA_PATH,
        handler=delete_amphora,
        success=204,
        summary="Delete an amphora that is in ERROR",
        rule=_RULE + "delete",
    ),
    Route(
        method="GET",
        path=AMPHORA_PATH + "/stats",
        handler=show_amphora_statistics,
        answers=objects.listed("amphora_stats", AmphoraStatistics, None),
        summary="Show an amphora's counters, one of each listener",
        rule=_RULE + "get_stats",
    ),
    Route(
        method="PUT",
        path=AMPHORA_PATH + "/config",
        handler=configure_amphora,
        success=202,
        summary="Bring an amphora's agent up to date",
        rule=_RULE + "put_config",
    ),
    Route(
        method="PUT",
        path=AMPHORA_PATH + "/failover",
        handler=fail_over_amphora,
        success=202,
        summary="Replace an amphora",
        rule=_RULE + "put_failover",
    ),
    Route(
        method="PUT",
        path="/v2/lbaas/loadbalancers/{load_balancer_id:str}/failover",
        handler=fail_over_load_balancer,
        success=202,
        summary="Replace the amphorae of a load balancer",
        rule="os_load-balancer_api:loadbalancer:put_failover",
    ),
]

# SPDX-License-Identifier: Apache-2.0
"""Health monitors, as the user API sees them: one for each pool, stored under it.

Only HTTP and HTTPS monitors have a method, a path and codes; for them the wire contract's
defaults are filled in here, for the others they are refused.
"""

from typing import Any, Final

from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call
from colonnade.api.http.decoding import Body, changed, given
from colonnade.api.resources import pages
from colonnade.api.resources.bodies import HealthMonitorCreate, HealthMonitorUpdate
from colonnade.api.resources.objects import SAMPLE_ID, HealthMonitorObject
from colonnade.api.resources.resource import Act, Wire, resource
from colonnade.domain.errors import Conflict, Invalid, NotFound
from colonnade.domain.ids import HealthMonitorId, PoolId, new_id
from colonnade.domain.pools import HTTP_DEFAULTS, HealthMonitor, Pool, is_host_name
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import DATAGRAM_POOLS, HTTP_MONITORS, MonitorType
from colonnade.store.rows.tables import HEALTH_MONITORS, POOLS

HTTP_ONLY: Final = (*HTTP_DEFAULTS, "http_version", "domain_name")
DATAGRAM_MONITORS: Final = frozenset({MonitorType.UDP_CONNECT, MonitorType.SCTP})
UDP_DELAY_MIN: Final = 3  # contract
MONITORS_OF_DATAGRAM_POOLS: Final = DATAGRAM_MONITORS | {MonitorType.TCP, MonitorType.HTTP}


async def create_health_monitor(call: Call) -> JSON:
    body = call.body(HealthMonitorCreate, "healthmonitor")
    pool_id = PoolId(str(body.said("pool_id")))
    monitor = read_health_monitor(body)
    async with call.editing(POOLS, pool_id) as edit:
        pool = edit.tree.pool(pool_id)
        if pool.health_monitor is not None:
            raise Conflict("This pool already has a health monitor")
        edit.tree = edit.tree.with_pool(with_monitor(pool, monitor))
    return pages.added(call, edit, HEALTH_MONITORS, monitor.id, "healthmonitor")


async def list_health_monitors(call: Call) -> JSON:
    return await pages.page(call, HEALTH_MONITORS, "healthmonitors")


async def show_health_monitor(call: Call) -> JSON:
    return await pages.one(call, HEALTH_MONITORS, call.id("health_monitor_id"), "healthmonitor")


async def update_health_monitor(call: Call) -> JSON:
    body = call.body(HealthMonitorUpdate, "healthmonitor")
    monitor_id = call.id("health_monitor_id")
    async with call.editing(HEALTH_MONITORS, monitor_id) as edit:
        pool, monitor = _find(edit.tree, monitor_id)
        fields = changed(body, HealthMonitor)
        after = _checked(replace(monitor, **_for_type(monitor.type, fields)))
        edit.tree = edit.tree.with_pool(with_monitor(pool, after))
    return await pages.one(call, HEALTH_MONITORS, monitor_id, "healthmonitor")


async def delete_health_monitor(call: Call) -> JSON:
    monitor_id = call.id("health_monitor_id")
    async with call.editing(HEALTH_MONITORS, monitor_id) as edit:
        pool, _ = _find(edit.tree, monitor_id)
        edit.tree = edit.tree.with_pool(replace(pool, health_monitor=None))


def read_health_monitor(body: Body) -> HealthMonitor:
    fields = given(body, HealthMonitor)
    kind: MonitorType = fields["type"]
    if kind in HTTP_MONITORS:
        fields = HTTP_DEFAULTS | fields
    return _checked(HealthMonitor(id=HealthMonitorId(new_id()), **_for_type(kind, fields)))


def with_monitor(pool: Pool, monitor: HealthMonitor) -> Pool:
    datagram = pool.protocol in DATAGRAM_POOLS
    fits = (
        monitor.type in MONITORS_OF_DATAGRAM_POOLS
        if datagram
        else monitor.type not in DATAGRAM_MONITORS
    )
    if not fits:
        raise Invalid(
            f"a {pool.protocol.value} pool cannot have a {monitor.type.value} health monitor",
            field="type",
        )
    if monitor.type is MonitorType.UDP_CONNECT and monitor.delay < UDP_DELAY_MIN:
        raise Invalid(
            f"delay must be {UDP_DELAY_MIN} or more for type {monitor.type.value}", field="delay"
        )
    return replace(pool, health_monitor=monitor)


def _for_type(kind: MonitorType, fields: dict[str, Any]) -> dict[str, Any]:
    if kind in HTTP_MONITORS:
        for name, default in HTTP_DEFAULTS.items():
            if name in fields and fields[name] is None:
                fields[name] = default
        if fields.get("http_version") not in (None, 1.0, 1.1):
            raise Invalid(
                "Invalid input for field/attribute http_version. "
                f"Value: '{fields['http_version']}'. Value should be one of: 1.0, 1.1"
            )
        return fields
    named = [name for name in HTTP_ONLY if fields.get(name) is not None]
    if named:
        raise Invalid(
            f"{', '.join(named)} only go with types HTTP and HTTPS, not with {kind.value}",
            field=named[0],
        )
    return fields


def _checked(monitor: HealthMonitor) -> HealthMonitor:
    """What no provider may accept, whichever of the attributes came first."""
    if monitor.domain_name is not None and monitor.http_version != 1.1:
        raise Invalid("domain_name needs http_version 1.1", field="domain_name")
    for name, rule, holds in (
        ("domain_name", "a host name, an international one in ASCII", is_host_name),
        ("url_path", "printable", str.isprintable),
        ("expected_codes", "a code, a list or a range, lowest first", _is_ascending),
    ):
        value = getattr(monitor, name)
        if value is not None and not holds(value):
            raise Invalid(
                f"Invalid input for field/attribute {name}. Value: '{value}'. "
                f"Value should be {rule}"
            )
    return monitor


def _is_ascending(codes: str) -> bool:
    first, _, last = codes.partition("-")
    return not last or int(first) <= int(last)


def _find(tree: LoadBalancer, monitor_id: str) -> tuple[Pool, HealthMonitor]:
    for pool in tree.pools:
        if pool.health_monitor is not None and pool.health_monitor.id == monitor_id:
            return pool, pool.health_monitor
    raise NotFound(f"Health Monitor {monitor_id} not found.")


_WIRE: Final = Wire(
    steps="healthmonitors",
    place="health_monitor_id",
    one="healthmonitor",
    many="healthmonitors",
    rule="healthmonitor",
    object=HealthMonitorObject,
)
ROUTES = resource(
    _WIRE,
    list=Act(handler=list_health_monitors, summary="List monitors"),
    create=Act(
        handler=create_health_monitor,
        takes=HealthMonitorCreate,
        example={
            "pool_id": SAMPLE_ID,
            "type": "HTTP",
            "delay": 5,
            "timeout": 3,
            "max_retries": 2,
            "url_path": "/health",
        },
        summary="Create a health monitor for the members of a pool",
    ),
    show=Act(handler=show_health_monitor, summary="Show a monitor"),
    update=Act(
        handler=update_health_monitor,
        takes=HealthMonitorUpdate,
        example={"delay": 10},
        summary="Change a monitor",
    ),
    delete=Act(handler=delete_health_monitor, summary="Delete a health monitor"),
)

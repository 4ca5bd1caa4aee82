# SPDX-License-Identifier: Apache-2.0
"""A whole tree in one answer: with everything, or with statuses alone.

The status tree has exactly the keys of the wire contract; suites count them.
"""

from typing import Any

from colonnade.api.user.shown import Shown, monitor_operating, operating, show
from colonnade.domain.tree import LoadBalancer
from colonnade.store import records
from colonnade.store.database import Connection
from colonnade.store.records import Record
from colonnade.store.rows import HEALTH_MONITORS, LISTENERS, LOAD_BALANCERS, MEMBERS, POOLS


async def full_tree(connection: Connection, root_id: str) -> Shown:
    """The load balancer with every child fully shown: the answer to its creation."""
    root = await records.get(connection, LOAD_BALANCERS, root_id, project=None)
    shown = show(LOAD_BALANCERS, root)
    if not (root.listener_ids or root.pool_ids):
        return shown
    found = await records.below(connection, root_id)
    monitors = {m.pool_id: m for m in found[HEALTH_MONITORS.name]}
    pools: dict[str, Shown] = {}
    for pool in found[POOLS.name]:
        monitor = monitors.get(pool.value.id)
        pools[pool.value.id] = show(POOLS, pool) | {
            "members": [
                show(MEMBERS, member)
                for member in found[MEMBERS.name]
                if member.pool_id == pool.value.id
            ],
            "healthmonitor": show(HEALTH_MONITORS, monitor) if monitor is not None else None,
        }
    listeners = [
        show(LISTENERS, x) | {"default_pool": pools.get(x.value.default_pool_id or "")}
        for x in found[LISTENERS.name]
    ]
    return shown | {"listeners": listeners, "pools": list(pools.values())}


async def status_tree(connection: Connection, root: Record[LoadBalancer]) -> Shown:
    found = await records.below(connection, root.value.id)
    monitors = {m.pool_id: m for m in found[HEALTH_MONITORS.name]}
    pools: dict[str, Shown] = {}
    for pool in found[POOLS.name]:
        monitor = monitors.get(pool.value.id)
        pools[pool.value.id] = _status(pool) | {
            "health_monitor": _monitor(monitor) if monitor is not None else {},
            "members": [
                _status(m) | {"address": m.value.address, "protocol_port": m.value.protocol_port}
                for m in found[MEMBERS.name]
                if m.pool_id == pool.value.id
            ],
        }
    listeners = []
    for listener in found[LISTENERS.name]:
        pool_id = listener.value.default_pool_id
        used = [pools[pool_id]] if pool_id in pools else []
        listeners.append(_status(listener) | {"pools": used})
    return _status(root) | {"listeners": listeners}


def _status(record: Record[Any]) -> Shown:
    return {
        "id": record.value.id,
        "name": record.value.name,
        "operating_status": operating(record),
        "provisioning_status": record.provisioning.value,
    }


def _monitor(record: Record[Any]) -> Shown:
    return _status(record) | {
        "type": record.value.type.value,
        "operating_status": monitor_operating(record),
    }

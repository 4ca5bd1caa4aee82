# SPDX-License-Identifier: Apache-2.0
"""A whole tree in one answer: with everything, or with statuses alone.

The status tree has exactly the keys of the wire contract; suites count them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from colonnade.api.resources.shown import Shown, monitor_operating, operating, show
from colonnade.domain.l7 import L7Policy
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres.database import Connection
from colonnade.store.rows.tables import (
    HEALTH_MONITORS,
    L7POLICIES,
    L7RULES,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    POOLS,
)
from colonnade.store.trees import records
from colonnade.store.trees.records import Record


async def full_tree(connection: Connection, root_id: str) -> Shown:
    """The load balancer with every child fully shown: the answer to its creation."""
    root = await records.get(connection, LOAD_BALANCERS, root_id, project=None)
    shown = show(LOAD_BALANCERS, root)
    if not (root.listener_ids or root.pool_ids):
        return shown
    found = await records.below(connection, root_id)
    monitors = {m.parent_id: m for m in found[HEALTH_MONITORS.name]}
    pools: dict[str, Shown] = {}
    for pool in found[POOLS.name]:
        monitor = monitors.get(pool.value.id)
        pools[pool.value.id] = show(POOLS, pool) | {
            "members": [
                show(MEMBERS, member)
                for member in found[MEMBERS.name]
                if member.parent_id == pool.value.id
            ],
            "healthmonitor": show(HEALTH_MONITORS, monitor) if monitor is not None else None,
        }
    listeners = [
        show(LISTENERS, x)
        | {
            "default_pool": pools.get(x.value.default_pool_id or ""),
            "l7policies": [
                _full_policy(policy, found, pools) for policy in _policies(found, x.value.id)
            ],
        }
        for x in found[LISTENERS.name]
    ]
    return shown | {"listeners": listeners, "pools": list(pools.values())}


def _policies(found: Mapping[str, Sequence[Record[Any]]], listener_id: str) -> list[Record[Any]]:
    """In the order of their positions."""
    own = [policy for policy in found[L7POLICIES.name] if policy.parent_id == listener_id]
    return sorted(own, key=lambda policy: int(policy.value.position))


def _full_policy(
    policy: Record[L7Policy],
    found: Mapping[str, Sequence[Record[Any]]],
    pools: Mapping[str, Shown],
) -> Shown:
    rules = [rule for rule in found[L7RULES.name] if rule.parent_id == policy.value.id]
    return show(L7POLICIES, policy) | {
        "redirect_pool": pools.get(policy.value.redirect_pool_id or ""),
        "rules": [show(L7RULES, rule) for rule in rules],
    }


async def status_tree(connection: Connection, root: Record[LoadBalancer]) -> Shown:
    found = await records.below(connection, root.value.id)
    monitors = {m.parent_id: m for m in found[HEALTH_MONITORS.name]}
    pools: dict[str, Shown] = {}
    for pool in found[POOLS.name]:
        monitor = monitors.get(pool.value.id)
        pools[pool.value.id] = _status(pool) | {
            "health_monitor": _monitor(monitor) if monitor is not None else {},
            "members": [
                _status(m) | {"address": m.value.address, "protocol_port": m.value.protocol_port}
                for m in found[MEMBERS.name]
                if m.parent_id == pool.value.id
            ],
        }
    listeners = []
    for listener in found[LISTENERS.name]:
        named = [listener.value.default_pool_id]
        for policy in _policies(found, listener.value.id):
            named += [policy.value.redirect_pool_id]
            named += [pool.pool_id for pool in policy.value.redirect_pools]
        used = [pools[pool_id] for pool_id in dict.fromkeys(named) if pool_id in pools]
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

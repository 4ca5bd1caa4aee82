# SPDX-License-Identifier: Apache-2.0
"""What a change has just added, as a look into the store would find it, without the look.

The order of ids is that of the store for what is made at once. Nothing is read or written here.
"""

from collections.abc import Sequence
from typing import Any

from colonnade.domain.errors import NotFound
from colonnade.domain.ids import L7PolicyId, ListenerId
from colonnade.domain.pools import HealthMonitor, Member
from colonnade.domain.status import Operating
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.difference import Place
from colonnade.store.rows.tables import (
    HEALTH_MONITORS,
    L7POLICIES,
    L7RULES,
    LISTENERS,
    LOAD_BALANCERS,
    POOLS,
    Table,
)
from colonnade.store.trees.changes import first_status
from colonnade.store.trees.records import Record
from colonnade.store.trees.wishes import Stored


def record_of(stored: Stored, table: Table, object_id: str) -> Record[Any]:
    """One object that a change has just added, as `get` would find it."""
    place, ids = _place(stored.tree, table, object_id)
    path = "" if table is LOAD_BALANCERS else f"{table.name}/{object_id}"
    return Record(
        value=place.own,
        project_id=stored.tree.project_id,
        load_balancer_id=stored.tree.id,
        created=stored.generation,
        changed=stored.generation,
        deleted=False,
        created_at=stored.at,
        updated_at=None,
        is_new=True,
        operating=Operating(first_status(place)),
        applied=stored.applied,
        is_noop=stored.is_noop,
        parent_id=place.parent_id,
        issues=[x for x in stored.issues if x.path.startswith(path) and not table.parent],
        **ids,
    )


def _place(tree: LoadBalancer, table: Table, object_id: str) -> tuple[Place, dict[str, Any]]:
    """The object, and the ids of its children and users in the order of `get`."""
    if table is LOAD_BALANCERS:
        return Place(table, object_id, tree), {
            "listener_ids": sorted(listener.id for listener in tree.listeners),
            "pool_ids": sorted(pool.id for pool in tree.pools),
        }
    if table is LISTENERS:
        listener = tree.listener(ListenerId(object_id))
        return Place(table, object_id, listener), {
            "policy_ids": [p.id for p in listener.l7policies]
        }
    if table is L7POLICIES:
        listener = tree.listener_of(L7PolicyId(object_id))
        policy = listener.policy(L7PolicyId(object_id))
        rules = sorted(rule.id for rule in policy.rules)
        return Place(table, object_id, policy, listener.id), {"rule_ids": rules}
    if table is L7RULES:
        for listener in tree.listeners:
            for policy in listener.l7policies:
                for rule in policy.rules:
                    if rule.id == object_id:
                        return Place(table, object_id, rule, policy.id), {}
    return _place_of_pool(tree, table, object_id)


def _place_of_pool(
    tree: LoadBalancer, table: Table, object_id: str
) -> tuple[Place, dict[str, Any]]:
    for pool in tree.pools:
        monitor = pool.health_monitor
        if table is POOLS and pool.id == object_id:
            return Place(table, object_id, pool), {
                "member_ids": sorted(member.id for member in pool.members),
                "listener_ids": [x.id for x in tree.listeners if pool.id in x.pool_ids],
                "health_monitor_id": monitor.id if monitor is not None else None,
            }
        nodes: Sequence[Member | HealthMonitor] = pool.members
        if table is HEALTH_MONITORS:
            nodes = (monitor,) if monitor is not None else ()
        for node in nodes:
            if node.id == object_id:
                return Place(table, object_id, node, pool.id, monitor is not None), {}
    raise NotFound(f"{table.noun} {object_id} not found.")

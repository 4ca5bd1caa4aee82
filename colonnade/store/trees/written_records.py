# SPDX-License-Identifier: Apache-2.0
"""What a change has just added, as a look into the store would find it, without the look.

The order of ids is that of the store for what is made at once. Nothing is read or written here.
"""

from typing import Any

from colonnade.domain.errors import NotFound
from colonnade.domain.l7 import L7Policy
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Pool
from colonnade.domain.status import Operating
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.difference import Place
from colonnade.store.rows.tables import LOAD_BALANCERS, Node, Table
from colonnade.store.trees.changes import first_status
from colonnade.store.trees.records import Record
from colonnade.store.trees.wishes import Stored


def record_of(stored: Stored, table: Table, object_id: str) -> Record[Any]:
    """One object that a change has just added, as `get` would find it."""
    tree = stored.tree
    place = _place(stored, table, object_id)
    path = "" if table is LOAD_BALANCERS else f"{table.name}/{object_id}"
    return Record(
        value=place.own,
        project_id=tree.project_id,
        load_balancer_id=tree.id,
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
        issues=[x for x in stored.issues if not table.parent and x.path.startswith(path)],
        **_ids(tree, place.own),
    )


def _place(stored: Stored, table: Table, object_id: str) -> Place:
    if table is LOAD_BALANCERS:
        return Place(table, object_id, stored.tree)
    for place in stored.added:
        if place.id == object_id:
            return place
    raise NotFound(f"{table.noun} {object_id} not found.")


def _ids(tree: LoadBalancer, node: Node) -> dict[str, Any]:
    """Of the node's children and users, in the order of `get`."""
    match node:
        case LoadBalancer():
            return {
                "listener_ids": sorted(listener.id for listener in tree.listeners),
                "pool_ids": sorted(pool.id for pool in tree.pools),
            }
        case Listener():
            return {"policy_ids": [policy.id for policy in node.l7policies]}
        case L7Policy():
            return {"rule_ids": sorted(rule.id for rule in node.rules)}
        case Pool():
            monitor = node.health_monitor
            return {
                "member_ids": sorted(member.id for member in node.members),
                "listener_ids": [x.id for x in tree.listeners if node.id in x.pool_ids],
                "health_monitor_id": monitor.id if monitor is not None else None,
            }
    return {}

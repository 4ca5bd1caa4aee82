# SPDX-License-Identifier: Apache-2.0
"""What a change has just added, as a look into the store would find it, without the look.

The order of ids is that of the store for what is made at once. Nothing is read or written here.
"""

from typing import Any

from colonnade.domain.errors import NotFound
from colonnade.domain.node import Node
from colonnade.domain.shape import L7POLICIES, LOAD_BALANCERS, POOLS, Noun
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.difference import Place
from colonnade.store.trees.changes import first_status
from colonnade.store.trees.records import Record
from colonnade.store.trees.wishes import Stored


def record_of(stored: Stored, table: Noun, object_id: str) -> Record[Any]:
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
        operating=first_status(place),
        applied=stored.applied,
        is_noop=stored.is_noop,
        parent_id=place.parent_id,
        issues=[x for x in stored.issues if not table.parent and x.path.startswith(path)],
        **_ids(tree, table, place.own),
    )


def _place(stored: Stored, table: Noun, object_id: str) -> Place:
    if table is LOAD_BALANCERS:
        return Place(table, object_id, stored.tree)
    for place in stored.added:
        if place.id == object_id:
            return place
    raise NotFound(f"{table.noun} {object_id} not found.")


def _ids(tree: LoadBalancer, table: Noun, node: Node) -> dict[str, Any]:
    """The ids of its children and users in the order of `get`."""
    found: dict[str, Any] = {
        "below": {
            noun.word: [x.id for x in noun.of(node)]
            if noun is L7POLICIES
            else sorted(x.id for x in noun.of(node))
            for noun in table.below
        }
    }
    if table is POOLS:
        found["user_ids"] = [x.id for x in tree.listeners if node.id in x.pool_ids]
    return found

# SPDX-License-Identifier: Apache-2.0
"""What a change has just added, as a look into the store would find it, without the look.

The order of ids is that of the store for what is made at once. Nothing is read or written here.
"""

from typing import Any

from colonnade.domain.errors import NotFound
from colonnade.domain.node import Node
from colonnade.domain.shape import L7POLICIES, LOAD_BALANCERS, POOLS, Noun
from colonnade.domain.status import provisioning
from colonnade.store.postgres.times import time
from colonnade.store.rows.difference import Place
from colonnade.store.trees.changes import first_status
from colonnade.store.trees.records import Record
from colonnade.store.trees.wishes import Stored


def record_of(stored: Stored, table: Noun, object_id: str) -> Record[Any]:
    """One object that a change has just added, as `get` would find it."""
    tree = stored.tree
    place = _place(stored, table, object_id)
    path = "" if table is LOAD_BALANCERS else f"{table.name}/{object_id}"
    created_at = time(stored.at)
    assert created_at is not None, "what is written has a time"
    return Record(
        value=place.own,
        provisioning=provisioning(
            created=stored.generation,
            changed=stored.generation,
            deleted=False,
            applied=stored.applied,
        ),
        operating=first_status(place),
        issues=[x for x in stored.issues if not table.parent and x.path.startswith(path)],
        last_error=None,
        project_id=tree.project_id,
        load_balancer_id=tree.id,
        parent_id=place.parent_id,
        created_at=created_at,
        updated_at=None,
        operating_reason="",
        operating_since=None,
        is_noop=stored.is_noop,
        user_ids=[x.id for x in tree.listeners if place.id in x.pool_ids]
        if table is POOLS
        else None,
        topology=stored.topology if table is LOAD_BALANCERS else None,
        below=[_ids(noun, place.own) for noun in table.below],
        is_new=True,
    )


def _place(stored: Stored, table: Noun, object_id: str) -> Place:
    if table is LOAD_BALANCERS:
        return Place(table, object_id, stored.tree)
    for place in stored.added:
        if place.id == object_id:
            return place
    raise NotFound(f"{table.noun} {object_id} not found.")


def _ids(noun: Noun, parent: Node) -> list[str]:
    """The ids of its children in the order of `get`."""
    found = [child.id for child in noun.of(parent)]
    return found if noun is L7POLICIES else sorted(found)

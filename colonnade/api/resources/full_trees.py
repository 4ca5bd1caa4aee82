# SPDX-License-Identifier: Apache-2.0
"""A whole tree in one answer: with everything, or with statuses alone.

The status tree has exactly the keys of the wire contract; suites count them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import asdict

from colonnade.api.resources.shown import Shown, monitor_operating, operating, show
from colonnade.domain.shape import (
    HEALTH_MONITORS,
    L7POLICIES,
    LISTENERS,
    LOAD_BALANCERS,
    MEMBERS,
    POOLS,
    Noun,
)
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres.database import Connection
from colonnade.store.trees import records
from colonnade.store.trees.records import Record


async def full_tree(connection: Connection, root_id: str) -> Shown:
    """The load balancer with every child fully shown: the answer to its creation."""
    root = await records.get(connection, LOAD_BALANCERS, root_id, project=None)
    if not any(root.below):
        return asdict(show(LOAD_BALANCERS, root))
    found = _Found(await records.below(connection, root_id))
    pools = {pool.value.id: _whole(POOLS, pool, found, {}) for pool in found.below(POOLS, root)}
    return _whole(LOAD_BALANCERS, root, found, pools)


class _Found:
    """All that is below a load balancer, by what it is below."""

    def __init__(self, records: Mapping[str, Sequence[Record[Any]]]) -> None:
        self._below: dict[tuple[str, str], list[Record[Any]]] = {}
        for name, found in records.items():
            for record in found:
                parent = record.parent_id or record.load_balancer_id
                self._below.setdefault((name, parent), []).append(record)

    def below(self, table: Noun, node: Record[Any]) -> list[Record[Any]]:
        found = self._below.get((table.name, node.value.id), [])
        if table.ordered:
            return sorted(found, key=lambda policy: int(policy.value.position))
        return found


def _whole(table: Noun, record: Record[Any], found: _Found, pools: Mapping[str, Shown]) -> Shown:
    shown = asdict(show(table, record))
    for noun in table.below:
        children = [
            pools.get(child.value.id) or _whole(noun, child, found, pools)
            for child in found.below(noun, record)
        ]
        if noun.alone:
            shown[noun.word] = children[0] if children else None
        else:
            shown[noun.word] = children
    for word in table.pools:
        shown[word] = pools.get(shown[f"{word}_id"] or "")
    return shown


async def status_tree(connection: Connection, root: Record[LoadBalancer]) -> Shown:
    found = _Found(await records.below(connection, root.value.id))
    pools = {
        pool.value.id: _status(pool)
        | {
            "health_monitor": next(map(_monitor, found.below(HEALTH_MONITORS, pool)), {}),
            "members": [
                _status(m) | {"address": m.value.address, "protocol_port": m.value.protocol_port}
                for m in found.below(MEMBERS, pool)
            ],
        }
        for pool in found.below(POOLS, root)
    }
    listeners = []
    for listener in found.below(LISTENERS, root):
        named = [listener.value.default_pool_id]
        for policy in found.below(L7POLICIES, listener):
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

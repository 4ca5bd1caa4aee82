# SPDX-License-Identifier: Apache-2.0
"""Operating statuses of a whole tree, from what its amphora says of listeners and members.

Pure: rows in, statuses out. What is administratively down is OFFLINE, whatever an amphora says;
what was changed later than the generation spoken of keeps the status it has. The rules are those
of the wire contract (B.11). Knows no haproxy word and no message.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from colonnade.domain.status import Operating, summary

LOAD_BALANCER: Final = "load_balancer"
LISTENER: Final = "listener"
POOL: Final = "pool"
MEMBER: Final = "member"
HEALTH_MONITOR: Final = "health_monitor"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One object of a tree, as far as its status goes."""

    kind: str
    id: str
    load_balancer_id: str
    pool_id: str | None = None  # of a member or monitor: its pool; of a listener: its default pool
    policy_pools: frozenset[str] = frozenset()  # of a listener: where its L7 policies send to
    is_up: bool  # administratively
    changed: int
    current: Operating


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an amphora said. `listeners` None: it spoke of a few members only."""

    generation: int
    is_running: bool = True
    listeners: Mapping[str, Operating] | None = None
    members: Mapping[tuple[str, str], Operating] = {}  # by (pool, member)


def statuses(nodes: Iterable[Node], facts: Facts) -> dict[tuple[str, str], Operating]:
    """By (kind, id), for all nodes of any number of trees."""
    trees: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        trees[node.load_balancer_id].append(node)
    found: dict[tuple[str, str], Operating] = {}
    for tree in trees.values():
        found.update(_Tree(tree, facts).statuses())
    return found


def worst(seen: Sequence[Operating]) -> Operating:
    """What a load balancer shows: one part that serves nobody is ERROR for the whole."""
    for status in (Operating.ERROR, Operating.DEGRADED):
        if status in seen:
            return status
    return Operating.ONLINE


class _Tree:
    def __init__(self, nodes: Sequence[Node], facts: Facts) -> None:
        self.facts = facts
        self.kinds: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            self.kinds[node.kind].append(node)
        self.is_up = all(root.is_up for root in self.kinds[LOAD_BALANCER])
        listeners = [x for x in self.kinds[LISTENER] if x.is_up and self.is_up]
        served = {x.pool_id for x in listeners}.union(*(x.policy_pools for x in listeners))
        self.served = {pool.id for pool in self.kinds[POOL] if pool.is_up and pool.id in served}
        self.monitored = {m.pool_id for m in self.kinds[HEALTH_MONITOR] if m.is_up}

    def statuses(self) -> dict[tuple[str, str], Operating]:
        found: dict[tuple[str, str], Operating] = {}
        of_pool: dict[str | None, list[Operating]] = defaultdict(list)
        for member in self.kinds[MEMBER]:
            status = found[MEMBER, member.id] = self._member(member)
            of_pool[member.pool_id].append(status)
        for monitor in self.kinds[HEALTH_MONITOR]:
            serves = monitor.is_up and monitor.pool_id in self.served
            found[HEALTH_MONITOR, monitor.id] = Operating.ONLINE if serves else Operating.OFFLINE
        parts = []
        for pool in self.kinds[POOL]:
            status = found[POOL, pool.id] = self._pool(pool, of_pool[pool.id])
            if pool.id in self.served:
                parts.append(status)
        for listener in self.kinds[LISTENER]:
            status = found[LISTENER, listener.id] = self._listener(listener)
            if listener.is_up:
                parts.append(status)
        for root in self.kinds[LOAD_BALANCER]:
            found[LOAD_BALANCER, root.id] = worst(parts) if root.is_up else Operating.OFFLINE
        return found

    def _member(self, member: Node) -> Operating:
        if not (member.is_up and self.is_up):
            return Operating.OFFLINE
        told = self.facts.members.get((member.pool_id or "", member.id))
        if told is not None:
            return told
        if member.pool_id in self.served and (self._is_silent_about(member)):
            return member.current
        return Operating.OFFLINE if member.pool_id in self.monitored else Operating.NO_MONITOR

    def _pool(self, pool: Node, members: Sequence[Operating]) -> Operating:
        if pool.id not in self.served:
            return Operating.OFFLINE
        return summary(members) if members else Operating.ONLINE

    def _listener(self, listener: Node) -> Operating:
        if not (listener.is_up and self.is_up):
            return Operating.OFFLINE
        if self.facts.listeners is None:
            return listener.current if self.facts.is_running else Operating.ERROR
        told = self.facts.listeners.get(listener.id)
        if told is not None:
            return told
        later = listener.changed > self.facts.generation
        return listener.current if later else Operating.ERROR

    def _is_silent_about(self, member: Node) -> bool:
        """Whether nothing follows from the amphora not having named the member."""
        return (
            self.facts.listeners is None
            or not self.facts.is_running
            or member.changed > self.facts.generation
        )

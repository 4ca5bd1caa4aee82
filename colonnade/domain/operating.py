# SPDX-License-Identifier: Apache-2.0
"""Operating statuses of a whole tree, each with its reason, from what its amphora says of
listeners, pools and members.

Pure: rows in, statuses out. What is administratively down is OFFLINE, whatever an amphora says;
what was changed later than the generation spoken of keeps the status it has. The rules are those
of the wire contract (B.11). Knows no haproxy word and no message.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from colonnade.domain.checks import Check, explain
from colonnade.domain.pools import HealthMonitor
from colonnade.domain.status import Operating, summary

LOAD_BALANCER: Final = "load_balancer"
LISTENER: Final = "listener"
POOL: Final = "pool"
MEMBER: Final = "member"
HEALTH_MONITOR: Final = "health_monitor"
NAMED_MAX: Final = 3  # parts that a reason names; the others are counted
REASON_MAX: Final = 1000  # characters
WAITS: Final = "it is to be replaced, and waits for capacity"
_TROUBLE: Final = (Operating.ERROR, Operating.DEGRADED)


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
    reason: str = ""  # of the current status
    name: str = ""
    place: str = ""  # of a member: the address and port that are checked
    monitor: HealthMonitor | None = None  # of a monitor's node: itself


class State(msgspec.Struct, frozen=True):
    """What a node shows. The reason is one sentence without a full stop, "" when all is well."""

    status: Operating
    reason: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an amphora said. `listeners` None: it spoke of a few members only."""

    generation: int
    is_running: bool = True
    listeners: Mapping[str, Operating] | None = None
    members: Mapping[tuple[str, str], Operating] = {}  # by (pool, member)
    checks: Mapping[tuple[str, str], Check] = {}  # why members are in ERROR, as far as known
    closed_pools: frozenset[str] = frozenset()  # those that would take no new client


def statuses(nodes: Iterable[Node], facts: Facts) -> dict[tuple[str, str], State]:
    """By (kind, id), for all nodes of any number of trees."""
    trees: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        trees[node.load_balancer_id].append(node)
    found: dict[tuple[str, str], State] = {}
    for tree in trees.values():
        found.update(_Tree(tree, facts).statuses())
    return found


def lacking(nodes: Sequence[Node], *, is_served: bool) -> dict[tuple[str, str], State]:
    """As `statuses`, when no amphora is ready to serve the nodes. `is_served`: an amphora that is
    to be replaced still serves them."""
    if is_served:
        found = {(node.kind, node.id): State(node.current, node.reason) for node in nodes}
    else:
        found = statuses(nodes, Facts(generation=0, is_running=False))
    for place, state in found.items():
        if place[0] == LOAD_BALANCER and is_served and state.status is Operating.ONLINE:
            found[place] = State(Operating.DEGRADED, WAITS)
        if place[0] == LOAD_BALANCER and not is_served and state.status is Operating.ERROR:
            found[place] = State(state.status, "nothing serves it, and it waits for capacity")
    return found


def still_lacking(
    nodes: Sequence[Node], told: Mapping[tuple[str, str], State]
) -> dict[tuple[str, str], State]:
    """The same as told by what is to be replaced, which does not know that capacity lacks."""
    found = dict(told)
    for node in nodes:
        place = node.kind, node.id
        if node.reason == WAITS and found[place].status is Operating.ONLINE:
            found[place] = State(Operating.DEGRADED, WAITS)
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
        self.monitors = {m.pool_id: m.monitor for m in self.kinds[HEALTH_MONITOR] if m.is_up}

    def statuses(self) -> dict[tuple[str, str], State]:
        found: dict[tuple[str, str], State] = {}
        of_pool: dict[str | None, list[tuple[Node, State]]] = defaultdict(list)
        for member in self.kinds[MEMBER]:
            state = found[MEMBER, member.id] = self._member(member)
            of_pool[member.pool_id].append((member, state))
        for monitor in self.kinds[HEALTH_MONITOR]:
            found[HEALTH_MONITOR, monitor.id] = self._monitor(monitor)
        parts = []
        for pool in self.kinds[POOL]:
            state = found[POOL, pool.id] = self._pool(pool, of_pool[pool.id])
            if pool.id in self.served:
                parts.append((pool, state))
        for listener in self.kinds[LISTENER]:
            state = found[LISTENER, listener.id] = self._listener(listener)
            if listener.is_up:
                parts.append((listener, state))
        for root in self.kinds[LOAD_BALANCER]:
            found[LOAD_BALANCER, root.id] = _root(root, parts)
        return found

    def _member(self, member: Node) -> State:
        if not (member.is_up and self.is_up):
            return State(Operating.OFFLINE)
        place = member.pool_id or "", member.id
        told = self.facts.members.get(place)
        if told is Operating.ERROR:
            return State(told, self._why_down(member, self.facts.checks.get(place)))
        if told is not None:
            return State(told)
        if member.pool_id in self.served and (self._is_silent_about(member)):
            return State(member.current, member.reason)
        is_watched = member.pool_id in self.monitors
        return State(Operating.OFFLINE if is_watched else Operating.NO_MONITOR)

    def _why_down(self, member: Node, check: Check | None) -> str:
        if check is not None:
            return explain(check, self.monitors.get(member.pool_id), member.place)
        # A datagram tells the state alone; the reason comes with the next whole status.
        return member.reason if member.current is Operating.ERROR else ""

    def _monitor(self, monitor: Node) -> State:
        if not (monitor.is_up and self.is_up):
            return State(Operating.OFFLINE)
        if monitor.pool_id not in self.served:
            return State(Operating.OFFLINE, "no listener uses its pool, so no member is checked")
        return State(Operating.ONLINE)

    def _pool(self, pool: Node, members: Sequence[tuple[Node, State]]) -> State:
        if pool.id not in self.served:
            return State(Operating.OFFLINE)
        if not members:
            return State(Operating.ONLINE)
        status = summary(state.status for _, state in members)
        if self._is_closed(pool, members):
            status = Operating.ERROR
        return State(status, _why_pool(members) if status in _TROUBLE else "")

    def _is_closed(self, pool: Node, members: Sequence[tuple[Node, State]]) -> bool:
        """Whether the amphora says that no member takes new clients. A datagram says nothing of
        pools: a closed pool then stays closed while no member takes clients."""
        if self.facts.listeners is not None:
            later = pool.changed > self.facts.generation
            return not later and pool.id in self.facts.closed_pools
        takes = any(s.status in (Operating.ONLINE, Operating.NO_MONITOR) for _, s in members)
        return pool.current is Operating.ERROR and not takes

    def _listener(self, listener: Node) -> State:
        if not (listener.is_up and self.is_up):
            return State(Operating.OFFLINE)
        if self.facts.listeners is None:
            if self.facts.is_running:
                return State(listener.current, listener.reason)
            return State(Operating.ERROR, "nothing answers on its port at the moment")
        told = self.facts.listeners.get(listener.id)
        if told is not None:
            full = told is Operating.DEGRADED
            return State(told, "it has as many connections as its limit allows" if full else "")
        if listener.changed > self.facts.generation:
            return State(listener.current, listener.reason)
        return State(Operating.ERROR, "nothing answers on its port at the moment")

    def _is_silent_about(self, member: Node) -> bool:
        """Whether the member keeps its status although the amphora did not name it."""
        return (
            self.facts.listeners is None
            or not self.facts.is_running
            or member.changed > self.facts.generation
        )


def _root(root: Node, parts: Sequence[tuple[Node, State]]) -> State:
    if not root.is_up:
        return State(Operating.OFFLINE)
    status = worst([state.status for _, state in parts])
    if status not in _TROUBLE:
        return State(status)
    said = [
        f"{part.kind} {part.name or part.id}: {state.reason}"
        for part, state in parts
        if state.status is status and state.reason
    ]
    return State(status, _some(said))


def _why_pool(members: Sequence[tuple[Node, State]]) -> str:
    """How many members are down, and why; or that nobody takes new clients."""
    down = [(member, state) for member, state in members if state.status is Operating.ERROR]
    if not down:
        return "no member takes new clients: the weight of each is 0, or it is switched off"
    verb = "is" if len(down) == 1 else "are"
    said = [": ".join(filter(None, (_called(m), state.reason))) for m, state in down]
    return f"{len(down)} of {len(members)} members {verb} down: {_some(said)}"[:REASON_MAX]


def _some(said: Sequence[str]) -> str:
    more = len(said) - NAMED_MAX
    return "; ".join([*said[:NAMED_MAX], *([f"and {more} more"] if more > 0 else [])])[:REASON_MAX]


def _called(member: Node) -> str:
    return f"{member.name} ({member.place})" if member.name else member.place

# SPDX-License-Identifier: Apache-2.0
"""The shape of a tree, said once: which nouns there are, below what, and under which names.

Rows, differences, records, statuses, bodies, documents and the words of the command line walk
these. With an object goes all that is below it. This module knows no table's columns and no path.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.tree import LoadBalancer


class Noun(msgspec.Struct, frozen=True, eq=False):
    """One kind of object. `name` is that of its table, `noun` that in sentences, `kind` that on
    the wire and in events; `field` is the attribute of its parent's value that holds it."""

    name: str
    noun: str
    type: type[Node]
    kind: str
    field: str = ""
    above: "Noun | None" = None
    alone: bool = False  # at most one below each parent
    wire: str = ""  # the word that its parent has it under, where that is not `field`

    @property
    def parent(self) -> str:
        """The name of its parent's id, when that is not the load balancer's: each has that."""
        is_deep = self.above is not None and self.above.above is not None
        return f"{self.above.kind}_id" if is_deep and self.above is not None else ""

    @property
    def word(self) -> str:
        return self.wire or self.field

    @property
    def below(self) -> "tuple[Noun, ...]":
        return tuple(noun for noun in BELOW if noun.above is self)

    def children(self, node: Node) -> "Iterator[tuple[Noun, Node]]":
        """What is below a value of this noun, one step down."""
        for noun in self.below:
            held = getattr(node, noun.field)
            for child in (() if held is None else (held,)) if noun.alone else held:
                yield noun, child


LOAD_BALANCERS: Final = Noun("load_balancers", "Load Balancer", LoadBalancer, "loadbalancer")
LISTENERS: Final = Noun(
    "listeners", "Listener", Listener, "listener", field="listeners", above=LOAD_BALANCERS
)
POOLS: Final = Noun("pools", "Pool", Pool, "pool", field="pools", above=LOAD_BALANCERS)
MEMBERS: Final = Noun("members", "Member", Member, "member", field="members", above=POOLS)
HEALTH_MONITORS: Final = Noun(
    "health_monitors",
    "Health Monitor",
    HealthMonitor,
    "healthmonitor",
    field="health_monitor",
    above=POOLS,
    alone=True,
    wire="healthmonitor",
)
L7POLICIES: Final = Noun(
    "l7policies", "L7 Policy", L7Policy, "l7policy", field="l7policies", above=LISTENERS
)
L7RULES: Final = Noun("l7rules", "L7 Rule", L7Rule, "l7rule", field="rules", above=L7POLICIES)
# Parents before children.
BELOW: Final = (LISTENERS, POOLS, MEMBERS, HEALTH_MONITORS, L7POLICIES, L7RULES)
NOUNS: Final = (LOAD_BALANCERS, *BELOW)
OF_TYPE: Final[Mapping[type[Node], Noun]] = {noun.type: noun for noun in NOUNS}
CHILD_FIELDS: Final = frozenset(noun.field for noun in BELOW)

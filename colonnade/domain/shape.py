# SPDX-License-Identifier: Apache-2.0
"""The shape of a tree, said once: which nouns there are, below what, and under which names.

Rows, differences, records, statuses, bodies, documents and the words of the command line walk
these. With an object goes all that is below it. This module knows no table's columns and no path.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from colonnade.domain.attributes import described
from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.tree import LoadBalancer


class Noun(msgspec.Struct, frozen=True, eq=False):
    """One kind of object. `one` and `name` are its singular and plural (that of its table),
    `noun` is what sentences call it, `field` the attribute of its parent's value that holds it.
    `keys`: attributes by which two siblings are the same object, the surest first. A key without
    a value matches nothing."""

    one: str
    name: str
    noun: str
    type: type[Node]
    above: "Noun | None" = None
    field: str = ""
    alone: bool = False  # at most one below each parent
    reported: bool = True  # by amphorae; others do their work once they are served
    wire: str = ""  # its word in bodies and answers, where that is not `kind`
    nested: bool = False  # its path begins with its parent's, and so names that
    ordered: bool = False  # by positions, which its parent packs
    keys: tuple[tuple[str, ...], ...] = (("name",),)

    @property
    def kind(self) -> str:
        """Its word on the wire and in events."""
        return self.one.replace("_", "")

    @property
    def words(self) -> str:
        """What it is called inside of a sentence."""
        return self.noun.lower().replace("l7", "L7")

    @property
    def word(self) -> str:
        """What its parent has it under on the wire."""
        return self.field.replace("_", "")

    @property
    def parent(self) -> str:
        """The name of its parent's id, when that is not the load balancer's: each has that."""
        return _PARENTS[self.name]

    @property
    def wrapper(self) -> str:
        """What bodies and answers have one of it under."""
        return self.wire or self.kind

    @property
    def many(self) -> str:
        """What answers have a list of it under, and paths begin with."""
        return self.word if self.nested else self.name.replace("_", "")

    @property
    def place(self) -> str:
        """What paths call its id."""
        return f"{self.one}_id"

    @property
    def wire_id(self) -> str:
        """What bodies call its id."""
        return f"{self.kind}_id"

    @property
    def pools(self) -> tuple[str, ...]:
        """The words of pools that it uses, each of which may come along in its body."""
        return _POOLS[self.name]

    @property
    def below(self) -> "tuple[Noun, ...]":
        return _BELOW[self.name]

    def of(self, parent: Node) -> Sequence[Node]:
        """The objects of this noun that a value of its parent holds."""
        held: Any = getattr(parent, self.field)
        if not self.alone:
            found: Sequence[Node] = held
            return found
        return () if held is None else (held,)

    def each(self, tree: LoadBalancer) -> Iterator[tuple[Node, Node | None]]:
        """All of this noun in a tree, each with its parent."""
        if self.above is None:
            yield tree, None
            return
        for parent, _ in self.above.each(tree):
            for node in self.of(parent):
                yield node, parent


LOAD_BALANCERS: Final = Noun("load_balancer", "load_balancers", "Load Balancer", LoadBalancer)
LISTENERS: Final = Noun(
    "listener",
    "listeners",
    "Listener",
    Listener,
    LOAD_BALANCERS,
    "listeners",
    keys=(("name",), ("protocol", "protocol_port")),
)
POOLS: Final = Noun("pool", "pools", "Pool", Pool, LOAD_BALANCERS, "pools")
MEMBERS: Final = Noun(
    "member",
    "members",
    "Member",
    Member,
    POOLS,
    "members",
    nested=True,
    keys=(("address", "protocol_port"),),
)
HEALTH_MONITORS: Final = Noun(
    "health_monitor",
    "health_monitors",
    "Health Monitor",
    HealthMonitor,
    POOLS,
    "health_monitor",
    alone=True,
)
L7POLICIES: Final = Noun(
    "l7policy",
    "l7policies",
    "L7 Policy",
    L7Policy,
    LISTENERS,
    "l7policies",
    reported=False,
    ordered=True,
)
L7RULES: Final = Noun(
    "l7rule",
    "l7rules",
    "L7 Rule",
    L7Rule,
    L7POLICIES,
    "rules",
    reported=False,
    wire="rule",
    nested=True,
    keys=(("type", "compare_type", "key", "value", "invert"),),
)
# Parents before children.
BELOW: Final = (LISTENERS, POOLS, MEMBERS, HEALTH_MONITORS, L7POLICIES, L7RULES)
NOUNS: Final = (LOAD_BALANCERS, *BELOW)
OF_TYPE: Final[Mapping[type[Node], Noun]] = {noun.type: noun for noun in NOUNS}
CHILD_FIELDS: Final = frozenset(noun.field for noun in BELOW)
_PARENTS: Final = {
    noun.name: "" if noun.above in (None, LOAD_BALANCERS) else noun.above.place for noun in NOUNS
}
_BELOW: Final = {
    above.name: tuple(noun for noun in BELOW if noun.above is above) for above in NOUNS
}
_POOLS: Final = {
    noun.name: tuple(
        name.removesuffix("_id")
        for name, one in described(noun.type).items()
        if one.about.refers == "pool"
    )
    for noun in NOUNS
}

# SPDX-License-Identifier: Apache-2.0
"""Objects of a tree from the body of a request, each with all that comes along inside of it.

A pool that comes along has a name, so that others in the request may refer to it; a pool with a
name alone is such a reference. Nothing is stored here, and nothing is looked up.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from colonnade.api.http.decoding import Body, Fields, given, set_fields
from colonnade.api.user.special import special
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import PoolId, new_id
from colonnade.domain.node import Node
from colonnade.domain.pools import Pool
from colonnade.domain.shape import CHILD_FIELDS, LOAD_BALANCERS, POOLS, Noun
from colonnade.domain.walking import gathered


class NestedObjects:
    """What one request brings, gathered while it is read. `given`: the ids that it gives for
    objects, by the ids that these have here."""

    def __init__(self) -> None:
        self.pools: list[Pool] = []
        self.given: dict[str, str] = {}
        self._names: dict[str, PoolId] = {}
        self._defined: dict[int, PoolId] = {}  # by the body that defines it

    def know(self, pools: Iterable[Pool]) -> None:
        """Pools that are there already; a reference may mean one of them."""
        self._names |= {pool.name: pool.id for pool in pools if pool.name}

    def read(self, noun: Noun, body: Body) -> Any:
        """The object with its children. Pools that are defined inside of it were read before."""
        fields = {n: v for n, v in given(body, noun.type).items() if n not in CHILD_FIELDS}
        for word in noun.pools:
            if pool := body.said(word):
                fields[f"{word}_id"] = self._find(pool, word)
        fields = special(noun).read(fields, body)
        for child in noun.below:
            if found := [self.read(child, nested) for nested in _bodies(child, body)]:
                fields[child.field] = gathered(child, found)
        node: Node = noun.type(id=new_id(), **fields)
        for child in noun.below:
            special(child).check(node)
        if own_id := body.said_id("own_id"):
            self.given[node.id] = own_id
        return node

    def read_pools(self, bodies: Sequence[Body]) -> None:
        for body in bodies:
            self._add(self.read(POOLS, body))

    def read_pools_of(self, noun: Noun, body: Body) -> None:
        """The pools that are defined inside of the object. May be repeated."""
        for nested in pools_inside(noun, body):
            if id(nested) not in self._defined:
                pool = self.read(POOLS, nested)
                self._defined[id(nested)] = pool.id
                self._add(pool)

    def _add(self, pool: Pool) -> None:
        if pool.name in self._names:
            raise Invalid(f"Pool name '{pool.name}' must be unique", field="pools")
        if pool.name:
            self._names[pool.name] = pool.id
        self.pools.append(pool)

    def _find(self, body: Body, field: str) -> PoolId:
        name = body.said("name") or ""
        pool_id = self._defined.get(id(body)) or self._names.get(name)
        if pool_id is None:
            raise Invalid(f"Pool name '{name}' is not defined", field=field)
        return pool_id


def read_children(body: Body, *, named: bool) -> tuple[Fields, dict[str, str]]:
    """What is below a load balancer that comes at once, whichever order it refers in; and which ids
    are given for it. `named`: each pool must be, else it is Invalid."""
    whole = NestedObjects()
    whole.read_pools(body.each(POOLS.word))
    bodies = [
        (noun, nested)
        for noun in LOAD_BALANCERS.below
        for nested in _bodies(noun, body)
        if noun is not POOLS
    ]
    for noun, nested in bodies:
        whole.read_pools_of(noun, nested)
    if named and not all(pool.name for pool in whole.pools):
        raise Invalid("Pools must be named when they come with their load balancer.", field="pools")
    found: dict[Noun, list[Any]] = {noun: [] for noun in LOAD_BALANCERS.below}
    for noun, nested in bodies:
        found[noun].append(whole.read(noun, nested))
    found[POOLS] = whole.pools
    return {noun.field: gathered(noun, nodes) for noun, nodes in found.items()}, whole.given


def pools_inside(noun: Noun, body: Body) -> Iterator[Body]:
    """The pools that are defined inside of the object, in order."""
    for word in noun.pools:
        nested = body.said(word)
        if nested and not _is_reference(nested):
            yield nested
    for child in noun.below:
        for one in _bodies(child, body):
            yield from pools_inside(child, one)


def _bodies(noun: Noun, body: Body) -> Sequence[Body]:
    """Those of this noun that came along in the body of their parent."""
    said = body.said(noun.word)
    if said is None:
        return ()
    found: Sequence[Body] = (said,) if noun.alone else said
    return found


def _is_reference(body: Body) -> bool:
    return set(set_fields(body)) == {"name"}

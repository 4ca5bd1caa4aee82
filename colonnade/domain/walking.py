# SPDX-License-Identifier: Apache-2.0
"""One object of a tree, whichever noun it is of: found, put, or taken away.

An edit is a function from a value to a value: all that is above the object is made anew, and so
checked; what stands beside it is shared. What goes along with a noun besides (listeners that lose
their pool) is said by `domain/tree.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from colonnade.domain.errors import Conflict, NotFound
from colonnade.domain.listeners import packed, placed
from colonnade.domain.node import Node, only, put
from colonnade.domain.shape import Noun
from colonnade.domain.tree import LoadBalancer

N = TypeVar("N", bound=Node)


def child(parent: Node, noun: Noun, child_id: str) -> Any:
    return only(noun.noun, child_id, (one for one in noun.of(parent) if one.id == child_id))


def with_child(parent: N, noun: Noun, node: Any) -> N:
    """Put the child in the place of the one that has its id, or last. Raises Conflict where there
    is place for one, and another has it."""
    there: Any = getattr(parent, noun.field)
    if not noun.alone:
        nodes = placed(there, node) if noun.ordered else put(there, node)
        return replace(parent, **{noun.field: nodes})
    if there is not None and there.id != node.id:
        assert noun.above is not None
        raise Conflict(f"This {noun.above.words} already has a {noun.words}")
    return replace(parent, **{noun.field: node})


def without_child(parent: N, noun: Noun, child_id: str) -> N:
    child(parent, noun, child_id)
    kept = [one for one in noun.of(parent) if one.id != child_id]
    return replace(parent, **{noun.field: held(noun, kept)})


def held(noun: Noun, nodes: Sequence[Any]) -> Any:
    """These and no others, in this order, as the field of a parent has them."""
    if noun.alone:
        return nodes[0] if nodes else None
    return packed(nodes) if noun.ordered else tuple(nodes)


def gathered(noun: Noun, nodes: Sequence[Any]) -> Any:
    """The same of children that come one after the other: each has the position that it says."""
    if not noun.ordered:
        return held(noun, nodes)
    found: Any = ()
    for node in nodes:
        found = placed(found, node)
    return found


def parent_of(tree: LoadBalancer, noun: Noun, child_id: str) -> Node:
    assert noun.above is not None
    for parent, _ in noun.above.each(tree):
        if any(one.id == child_id for one in noun.of(parent)):
            return parent
    raise NotFound(f"{noun.noun} {child_id} not found.")


def edited(
    tree: LoadBalancer, noun: Noun, node_id: str, edit: Callable[[Any], Any]
) -> LoadBalancer:
    """The tree with what `edit` makes of the one object. Raises NotFound."""
    if noun.above is None:
        after: LoadBalancer = edit(tree)
        return after
    above = tree if noun.above.above is None else parent_of(tree, noun, node_id)
    node = edit(child(above, noun, node_id))
    return edited(tree, noun.above, above.id, lambda parent: with_child(parent, noun, node))

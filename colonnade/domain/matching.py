# SPDX-License-Identifier: Apache-2.0
"""Match the objects of a wished tree with those that exist, so that as little as possible changes.

A wished object matches the existing one with the id that it gives; else the one with the same key
of its noun, the surest key first (a name, a listener's port, a member's address and port, a rule's
whole condition). No existing object is matched twice. A matched object keeps its id, and references
to it are changed with it. Where nothing is there yet, `adopted` takes given ids as they are. Pure;
this module knows no bodies and no rows.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from colonnade.domain.addresses import canonical
from colonnade.domain.attributes import described
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import PoolId
from colonnade.domain.l7 import L7Policy
from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.pools import Pool
from colonnade.domain.shape import (
    L7POLICIES,
    L7RULES,
    LISTENERS,
    LOAD_BALANCERS,
    NOUNS,
    POOLS,
    Noun,
)
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.walking import held

Key: TypeAlias = Callable[[Any], Hashable]
Pairs: TypeAlias = Sequence[tuple[Any, Any]]  # what is wished, and what it means or None
Below: TypeAlias = Mapping[str, Any]  # what is below an object, by its field
Ids: TypeAlias = Mapping[str, str]  # by the id of a wished object, the one that was given for it


def matched(tree: LoadBalancer, wished: Below, given: Ids) -> Below:
    """What is wished, with the ids of what is there. Raises Invalid for a given id that is not."""
    pools = _pairs(POOLS, tree.pools, wished[POOLS.field], given)
    meant = {new.id: PoolId(old.id) for new, old in pools if old is not None}
    listeners = tuple(_with_pools(one, meant) for one in wished[LISTENERS.field])
    return _below(LOAD_BALANCERS, {**wished, LISTENERS.field: listeners}, tree, given)


def adopted(wished: Below, given: Ids) -> Below:
    """What is wished for a new load balancer, each object with the id that is given for it. Raises
    Invalid for an id that is given twice."""
    for one, count in Counter(given.values()).items():
        if count > 1:
            raise Invalid(f"{one} is given for {count} objects", field="id")
    renamed = {
        noun.field: held(
            noun, [_renamed(noun, one, given) for one in _nodes(noun, wished[noun.field])]
        )
        for noun in LOAD_BALANCERS.below
    }
    meant = {one.id: PoolId(given.get(one.id, one.id)) for one in wished[POOLS.field]}
    listeners = tuple(_with_pools(one, meant) for one in renamed[LISTENERS.field])
    return {**renamed, LISTENERS.field: listeners}


def _renamed(noun: Noun, node: Any, given: Ids) -> Any:
    below = {
        child.field: held(child, [_renamed(child, one, given) for one in child.of(node)])
        for child in noun.below
    }
    return replace(node, id=given.get(node.id, node.id), **below)


def _below(noun: Noun, wished: Below, old: Node | None, given: Ids) -> Below:
    """The children, those that mean one of the old object's with its id."""
    found = {}
    for child in noun.below:
        there = child.of(old) if old is not None else ()
        pairs = _pairs(child, there, _nodes(child, wished[child.field]), given)
        nodes = [_as_meant(child, new, meant, given) for new, meant in pairs]
        found[child.field] = held(child, nodes)
    return found


def _nodes(noun: Noun, field: Any) -> Sequence[Node]:
    """The objects that such a field has."""
    if not noun.alone:
        found: Sequence[Node] = field
        return found
    return () if field is None else (field,)


def _as_meant(noun: Noun, new: Any, old: Any, given: Ids) -> Any:
    if old is None and noun is POOLS:
        return new  # a pool may be copied within a document, with the ids of its members
    wished = {child.field: getattr(new, child.field) for child in noun.below}
    below = _below(noun, wished, old, given)
    return replace(new, id=new.id if old is None else old.id, **below)


def _with_pools(listener: Listener, meant: Mapping[PoolId, PoolId]) -> Listener:
    """With references to the pools that are meant."""
    default = listener.default_pool_id
    return replace(
        listener,
        default_pool_id=meant.get(default, default) if default is not None else None,
        l7policies=tuple(_policy_with_pools(policy, meant) for policy in listener.l7policies),
    )


def _policy_with_pools(policy: L7Policy, meant: Mapping[PoolId, PoolId]) -> L7Policy:
    pool_id = policy.redirect_pool_id
    weighted = tuple(
        replace(pool, pool_id=meant.get(pool.pool_id, pool.pool_id))
        for pool in policy.redirect_pools
    )
    pool_id = meant.get(pool_id, pool_id) if pool_id is not None else None
    return replace(policy, redirect_pool_id=pool_id, redirect_pools=weighted)


def _pairs(noun: Noun, there: Sequence[Node], wished: Sequence[Node], given: Ids) -> Pairs:
    """Each wished object with the one that it means. A key that is None matches nothing."""
    by_id = {old.id: old for old in there}
    meant: dict[str, Node] = {}
    for new in wished if not noun.alone else ():
        old_id = given.get(new.id)
        if old_id is None:
            continue
        if old_id not in by_id:
            raise Invalid(f"{old_id} does not exist, or is given twice", field="id")
        meant[new.id] = by_id.pop(old_id)
    for key in _KEYS[noun.name]:
        open_by_key: dict[Hashable, list[Node]] = {}
        for old in by_id.values():
            open_by_key.setdefault(key(old), []).append(old)
        for new in wished:
            found = open_by_key.get(key(new)) if key(new) is not None else None
            if new.id not in meant and found:
                meant[new.id] = found.pop(0)
                del by_id[meant[new.id].id]
    return [(new, meant.get(new.id)) for new in wished]


def _keys(noun: Noun) -> Iterator[Key]:
    if noun.alone:
        yield lambda _: noun.name
        return
    yield from (_key(noun, names) for names in noun.keys)


def _key(noun: Noun, names: Sequence[str]) -> Key:
    attributes = described(noun.type)
    addresses = frozenset(n for n in names if n in attributes and attributes[n].about.is_address)

    def key(node: Any) -> Hashable:
        values = tuple(
            canonical(getattr(node, name)) if name in addresses else getattr(node, name)
            for name in names
        )
        return values if any(values) else None

    return key


def _pool_content(pool: Pool) -> Hashable:
    """Pools without a name are told apart by what is in them."""
    if pool.name:
        return None
    endpoints = frozenset(member.endpoint for member in pool.members)
    return pool.protocol, pool.lb_algorithm, endpoints


def _pool_kind(pool: Pool) -> Hashable:
    return None if pool.name else (pool.protocol, pool.lb_algorithm)


def _policy_content(policy: L7Policy) -> Hashable:
    (condition,) = _KEYS[L7RULES.name]
    rules = frozenset(condition(rule) for rule in policy.rules)
    pools = frozenset((pool.pool_id, pool.weight) for pool in policy.redirect_pools)
    place = policy.redirect_pool_id, policy.redirect_url, policy.redirect_prefix
    return policy.action, place, pools, rules


def _policy_place(policy: L7Policy) -> Hashable:
    return policy.position, policy.action


# Keys of a noun besides those of its attributes.
_MORE: Final[Mapping[str, tuple[Key, ...]]] = {
    POOLS.name: (_pool_content, _pool_kind),
    L7POLICIES.name: (_policy_content, _policy_place),
}
_KEYS: Final[Mapping[str, tuple[Key, ...]]] = {
    noun.name: (*_keys(noun), *_MORE.get(noun.name, ())) for noun in NOUNS
}

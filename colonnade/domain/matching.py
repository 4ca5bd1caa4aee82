# SPDX-License-Identifier: Apache-2.0
"""Which of the objects that are there a wished tree means, so that as little as possible changes.

An object is the one whose id is given; else the one with its name; else the one with its natural
key (a listener's port, a member's address and port, a rule's whole condition). Each is meant once.
What is matched keeps its id, and references follow. Pure; nothing is known of bodies or rows.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from msgspec.structs import replace

from colonnade.domain.errors import Invalid
from colonnade.domain.ids import PoolId
from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.node import Node
from colonnade.domain.pools import Pool
from colonnade.domain.tree import LoadBalancer

N = TypeVar("N", bound=Node)
Key: TypeAlias = Callable[[Any], Hashable]

Ids: TypeAlias = Mapping[str, str]  # by the id of a wished object, the one that was given for it


def matched(
    tree: LoadBalancer, listeners: Sequence[Listener], pools: Sequence[Pool], given: Ids
) -> tuple[tuple[Listener, ...], tuple[Pool, ...]]:
    """What is wished, with the ids of what is there. Raises Invalid for a given id that is not."""
    found = _match(tree.pools, pools, given, (_name, _pool_content, _pool_kind))
    meant = {new.id: PoolId(old.id if old is not None else new.id) for new, old in found}
    ports = _match(tree.listeners, listeners, given, (_name, _port))
    return (
        tuple(_listener(new, old, meant, given) for new, old in ports),
        tuple(_pool(new, old, given) for new, old in found),
    )


def _match(
    there: Sequence[N], wished: Sequence[N], given: Ids, keys: Iterable[Key]
) -> list[tuple[N, N | None]]:
    """Each wished object with the one that it means. A key that is None matches nothing."""
    by_id = {old.id: old for old in there}
    meant: dict[str, N] = {}
    for new in wished:
        old_id = given.get(new.id)
        if old_id is None:
            continue
        if old_id not in by_id:
            raise Invalid(f"{old_id} does not exist, or is given twice", field="id")
        meant[new.id] = by_id.pop(old_id)
    for key in keys:
        open_by_key: dict[Hashable, list[N]] = {}
        for old in by_id.values():
            open_by_key.setdefault(key(old), []).append(old)
        for new in wished:
            found = open_by_key.get(key(new)) if key(new) is not None else None
            if new.id not in meant and found:
                meant[new.id] = found.pop(0)
                del by_id[meant[new.id].id]
    return [(new, meant.get(new.id)) for new in wished]


def _listener(
    new: Listener, old: Listener | None, meant: Mapping[PoolId, PoolId], given: Ids
) -> Listener:
    there = old.l7policies if old is not None else ()
    wished = [_with_pools(policy, meant) for policy in new.l7policies]
    policies = _match(there, wished, given, (_name, _policy_content, _policy_place))
    default = new.default_pool_id
    return replace(
        new,
        id=old.id if old is not None else new.id,
        default_pool_id=meant.get(default, default) if default is not None else None,
        l7policies=tuple(_policy(policy, is_there, given) for policy, is_there in policies),
    )


def _with_pools(policy: L7Policy, meant: Mapping[PoolId, PoolId]) -> L7Policy:
    pool_id = policy.redirect_pool_id
    weighted = tuple(
        replace(pool, pool_id=meant.get(pool.pool_id, pool.pool_id))
        for pool in policy.redirect_pools
    )
    pool_id = meant.get(pool_id, pool_id) if pool_id is not None else None
    return replace(policy, redirect_pool_id=pool_id, redirect_pools=weighted)


def _policy(new: L7Policy, old: L7Policy | None, given: Ids) -> L7Policy:
    rules = _match(old.rules if old is not None else (), new.rules, given, (_rule_content,))
    return replace(
        new,
        id=old.id if old is not None else new.id,
        rules=tuple(replace(rule, id=was.id) if was is not None else rule for rule, was in rules),
    )


def _pool(new: Pool, old: Pool | None, given: Ids) -> Pool:
    if old is None:
        return new
    members = _match(old.members, new.members, given, (lambda member: member.endpoint,))
    monitor = new.health_monitor
    if monitor is not None and old.health_monitor is not None:
        monitor = replace(monitor, id=old.health_monitor.id)
    return replace(
        new,
        id=old.id,
        members=tuple(
            replace(member, id=was.id) if was is not None else member for member, was in members
        ),
        health_monitor=monitor,
    )


def _name(node: Node) -> Hashable:
    return node.name or None


def _port(listener: Listener) -> Hashable:
    return listener.protocol, listener.protocol_port


def _pool_content(pool: Pool) -> Hashable:
    """Pools without a name are told apart by what is in them."""
    if pool.name:
        return None
    endpoints = frozenset(member.endpoint for member in pool.members)
    return pool.protocol, pool.lb_algorithm, endpoints


def _pool_kind(pool: Pool) -> Hashable:
    return None if pool.name else (pool.protocol, pool.lb_algorithm)


def _policy_content(policy: L7Policy) -> Hashable:
    rules = frozenset(_rule_content(rule) for rule in policy.rules)
    pools = frozenset((pool.pool_id, pool.weight) for pool in policy.redirect_pools)
    place = policy.redirect_pool_id, policy.redirect_url, policy.redirect_prefix
    return policy.action, place, pools, rules


def _policy_place(policy: L7Policy) -> Hashable:
    return policy.position, policy.action


def _rule_content(rule: L7Rule) -> Hashable:
    return rule.type, rule.compare_type, rule.key, rule.value, rule.invert

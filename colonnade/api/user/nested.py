# SPDX-License-Identifier: Apache-2.0
"""Trees that come in one request: listeners with their policies and pools, referred to by name.

A pool that comes along has a name, so that others in the request may refer to it; a pool with a
name alone is such a reference. Nothing is stored here, and nothing is looked up.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any

from colonnade.api.http.decoding import given, set_fields
from colonnade.api.resources.bodies import (
    L7PolicyNested,
    ListenerNested,
    LoadBalancerCreate,
    PoolNested,
)
from colonnade.api.resources.tls import read_tls
from colonnade.api.user.l7policies import read_policy
from colonnade.api.user.pools import read_pool
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import ListenerId, PoolId, new_id
from colonnade.domain.l7 import L7Policy
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Pool
from colonnade.domain.vocabulary import ListenerProtocol


class NestedObjects:
    """The listeners and pools of one request, gathered while they are read."""

    def __init__(self) -> None:
        self.pools: list[Pool] = []
        self._names: dict[str, PoolId] = {}
        self._defined: dict[int, PoolId] = {}  # by the body that defines it

    def know(self, pools: Iterable[Pool]) -> None:
        """Pools that are there already; a reference may mean one of them."""
        self._names |= {pool.name: pool.id for pool in pools if pool.name}

    def read_pools(self, bodies: Sequence[PoolNested]) -> None:
        for body in bodies:
            self._add(read_pool(body))

    def read_listener(self, body: ListenerNested) -> Listener:
        self.add_pools_of(body)
        fields = canonical_listener(given(body, Listener))
        fields.pop("l7policies", None)
        ends_tls = body.protocol is ListenerProtocol.TERMINATED_HTTPS
        fields = read_tls(fields, used=ends_tls)
        if body.default_pool:
            fields["default_pool_id"] = self._find(body.default_pool, "default_pool")
        listener = Listener(id=ListenerId(new_id()), **fields)
        for nested in body.l7policies or ():
            listener = listener.with_policy(self._read_policy(nested))
        return listener

    def add_pools_of(self, body: ListenerNested) -> None:
        """The pools that are defined inside of the listener. May be repeated."""
        for nested in pools_inside(body):
            if id(nested) not in self._defined:
                pool = read_pool(nested)
                self._defined[id(nested)] = pool.id
                self._add(pool)

    def _read_policy(self, body: L7PolicyNested) -> L7Policy:
        pool_id = self._find(body.redirect_pool, "redirect_pool") if body.redirect_pool else None
        return read_policy(body, pool_id)

    def _add(self, pool: Pool) -> None:
        if pool.name in self._names:
            raise Invalid(f"Pool name '{pool.name}' must be unique", field="pools")
        if pool.name:
            self._names[pool.name] = pool.id
        self.pools.append(pool)

    def _find(self, body: PoolNested, field: str) -> PoolId:
        pool_id = self._defined.get(id(body)) or self._names.get(body.name or "")
        if pool_id is None:
            raise Invalid(f"Pool name '{body.name}' is not defined", field=field)
        return pool_id


def pools_inside(body: ListenerNested) -> Iterator[PoolNested]:
    """The pools that are defined inside of the listener, in order."""
    policies = body.l7policies or ()
    for nested in (body.default_pool, *(policy.redirect_pool for policy in policies)):
        if nested and not _is_reference(nested):
            yield nested


def read_children(body: LoadBalancerCreate) -> tuple[tuple[Listener, ...], tuple[Pool, ...]]:
    """Listeners and pools of a tree that comes at once, whichever order they refer in."""
    whole = NestedObjects()
    whole.read_pools(body.pools or ())
    for nested in body.listeners or ():
        whole.add_pools_of(nested)
    for pool in whole.pools:
        if not pool.name:
            raise Invalid(
                "Pools must be named when they come with their load balancer.", field="pools"
            )
    listeners = tuple(whole.read_listener(nested) for nested in body.listeners or ())
    return listeners, tuple(whole.pools)


def canonical_listener(fields: dict[str, Any]) -> dict[str, Any]:
    cidrs = fields.get("allowed_cidrs")
    if cidrs:
        fields["allowed_cidrs"] = tuple(_read_cidr(text) for text in cidrs)
    return fields


def _read_cidr(text: str) -> str:
    """With the bits of the host masked."""
    try:
        if "%" not in text:  # a scope may be any text at all
            return str(ip_network(text, strict=False))
    except ValueError:
        pass
    raise Invalid(
        f"Invalid input for field/attribute allowed_cidrs. Value: '{text}'. "
        "Value should be IPv4 or IPv6 CIDR format"
    )


def _is_reference(body: PoolNested) -> bool:
    return set(set_fields(body)) == {"name"}

# SPDX-License-Identifier: Apache-2.0
"""What history keeps of changes is enough to do them again, to the tree that was before them."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from colonnade.domain.shape import BELOW
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.difference import difference, places
from colonnade.store.rows.history import Changed, changes
from colonnade.store.rows.replaying import replayed
from colonnade.store.rows.tables import json_of, own_fields
from tests.haproxy_extras import EXTRAS
from tests.haproxy_trees import FEATURES, listener, member, pool, tree
from tests.unit.test_remembered import WHOLE, edited, edits


def is_sound(whole: LoadBalancer) -> bool:
    """Samples for one pool or another have members of the same ids."""
    return len(places(whole)) == sum(len(list(noun.each(whole))) for noun in BELOW)


TREES = {
    name: one
    for name, cluster in (FEATURES | EXTRAS).items()
    for one in cluster.load_balancers
    if is_sound(one)
}


def plain(whole: LoadBalancer) -> Any:
    """All that is in it; of what has no order of its own, whatever the order."""
    below = {key: (p.parent_id, own_fields(p.own)) for key, p in places(whole).items()}
    policies = [[policy.id for policy in x.l7policies] for x in whole.listeners]
    return own_fields(whole), below, sorted(policies)


def kept(trees: list[LoadBalancer]) -> Iterator[Changed]:
    """As it comes back from the database."""
    for before, after in pairwise(trees):
        found = changes(before, after, difference(before, after))
        yield from msgspec.json.decode(json_of(found), type=tuple[Changed, ...])


@pytest.mark.parametrize("name", TREES)
def test_history_leads_to_any_tree_and_from_it(name: str) -> None:
    whole = TREES[name]
    bare = replace(whole, listeners=(), pools=())
    assert plain(replayed(bare, list(kept([bare, whole])))) == plain(whole)
    assert replayed(whole, list(kept([whole, bare]))) == bare
    assert replayed(bare, list(kept([bare, whole, bare]))) == bare
    assert plain(replayed(whole, list(kept([whole, bare, whole])))) == plain(whole)


@given(edits())
def test_it_leads_there_in_one_step_or_in_many(steps: list[int]) -> None:
    trees = [edited(WHOLE, steps[:n]) for n in range(len(steps) + 1)]
    assert plain(replayed(WHOLE, list(kept(trees)))) == plain(trees[-1])


def test_what_no_change_is_about_is_the_very_same_object() -> None:
    front = listener(100)
    before = tree((front,), (pool(200), pool(201, members=(member(1), member(2)))))
    grown = before.with_pool(pool(201, members=(*before.pools[1].members, member(3))))
    after = replayed(before, list(kept([before, grown])))
    assert after.listeners is before.listeners
    assert after.pools[0] is before.pools[0]
    assert after.pools[1].members[:2] == before.pools[1].members
    assert all(map(lambda a, b: a is b, after.pools[1].members, before.pools[1].members))
    assert replayed(before, []) is before

# SPDX-License-Identifier: Apache-2.0
"""What is kept of trees between their changes is bounded, found by any of their objects, and whole
answers are kept for as long as the very object lives."""

import gc
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.domain.listeners import Listener
from colonnade.domain.once import once_each
from colonnade.domain.pools import Pool
from colonnade.domain.shape import BELOW, L7POLICIES, L7RULES, MEMBERS
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import L7Action
from colonnade.domain.walking import with_child, without_child
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.store.postgres.migrations import SCHEMA
from colonnade.store.rows.difference import difference
from colonnade.store.trees.remembered import UNASKED, Known, Remembered, ids_asked_for
from tests.haproxy_extras import policy, rule
from tests.haproxy_trees import HTTP, ident, listener, member, pool, tree


def known(number: int, *pools: Pool) -> Known:
    """Of one object more than there are pools and members."""
    root = replace(tree((), pools), id=ident(number))
    return Known(tree=root, generation=1, version="v")


def test_a_tree_is_found_by_each_object_that_requests_name() -> None:
    memory = Remembered(100)
    front = listener(100, HTTP).with_policies((policy(300, L7Action.REJECT),))
    whole = Known(tree=tree((front,), (pool(200),)), generation=1, version="v")
    memory.keep(whole)
    for object_id in (whole.tree.id, front.id, ident(300), ident(200)):
        found = memory.find(object_id)
        assert found is not None and found.tree is whole.tree
    assert memory.find(ident(999)) is None


def test_what_comes_with_a_tree_is_what_comes_with_a_change() -> None:
    decided = policy(300, L7Action.REJECT, rule(400, "/admin"))
    front = listener(100, HTTP).with_policies((decided,))
    whole = tree((front,), (pool(200),))
    found = difference(None, whole).added
    assert {*ids_asked_for(whole)} == {place.id for place in found if place.table not in UNASKED}


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    memory = Remembered(6)
    for number in (1, 2, 3):
        memory.keep(known(number, pool(200 + number, members=())))
    memory.find(ident(1))
    memory.keep(known(4, pool(204, members=())))
    there = [n for n in (1, 2, 3, 4) if memory.find(ident(n)) is not None]
    assert there == [1, 3, 4]
    assert memory.find(ident(202)) is None


def test_a_tree_that_is_too_large_is_not_kept() -> None:
    memory = Remembered(3)
    memory.keep(known(1, pool(201, members=tuple(member(n) for n in range(1, 4)))))
    assert memory.find(ident(1)) is None


def test_what_a_change_adds_counts_and_what_it_removes_does_not() -> None:
    memory = Remembered(4)
    memory.keep(known(9))
    small = known(1, pool(201, members=()))
    memory.keep(small)
    grown = replace(small, tree=replace(small.tree, pools=(pool(201, members=(member(1),)),)))
    memory.advance(small, grown, difference(small.tree, grown.tree))
    assert memory.find(ident(9)) is not None
    last = replace(grown, tree=replace(grown.tree, pools=(pool(202, members=(member(2),)),)))
    memory.advance(grown, last, difference(grown.tree, last.tree))
    assert memory.find(ident(201)) is None
    found = memory.find(ident(202))
    assert found is not None and found.tree is last.tree and memory.find(ident(9)) is not None
    memory.keep(known(5, pool(205, members=())))
    assert memory.find(ident(1)) is None or memory.find(ident(9)) is None


def test_what_was_written_by_another_meanwhile_is_not_built_upon() -> None:
    memory = Remembered(100)
    mine = known(1)
    memory.keep(mine)
    memory.keep(replace(known(1, pool(201)), generation=2, version="w"))
    memory.advance(mine, replace(mine, generation=2), difference(mine.tree, mine.tree))
    assert memory.find(ident(1)) is None


def test_an_answer_is_kept_for_the_very_object_and_as_long_as_it_lives() -> None:
    asked: list[str] = []

    @once_each
    def name(one: Pool) -> str:
        asked.append(one.id)
        return one.name

    first, twin = pool(200, name="a"), pool(200, name="a")
    assert [name(first), name(first), name(twin), name(first)] == ["a"] * 4
    assert len(asked) == 2
    del first, twin
    gc.collect()
    for _ in range(50):
        assert name(pool(201, name="b")) == "b"
    assert len(asked) == 52


def copied(whole: LoadBalancer) -> LoadBalancer:
    """Equal, and of other objects throughout."""

    def listener_of(one: Listener) -> Listener:
        policies = (replace(p, rules=tuple(map(replace, p.rules))) for p in one.l7policies)
        return replace(one, l7policies=tuple(policies))

    pools = (replace(p, members=tuple(map(replace, p.members))) for p in whole.pools)
    return replace(whole, listeners=tuple(map(listener_of, whole.listeners)), pools=tuple(pools))


FRONT = listener(100, HTTP, default_pool_id=ident(200)).with_policies(
    (
        policy(300, L7Action.REJECT, rule(400, "/a")),
        policy(301, L7Action.REJECT, rule(401, "/b"), rule(402, "/c")),
    )
)
WHOLE = tree((FRONT, listener(101, HTTP)), (pool(200), pool(201, members=())))


def edits() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 7), max_size=4)


def edited(whole: LoadBalancer, steps: list[int]) -> LoadBalancer:
    for number, step in enumerate(steps):
        front, servers = whole.listeners[0], whole.pools[0]
        first = front.l7policies[0] if front.l7policies else None
        match step:
            case 0:
                whole = whole.with_pool(with_child(servers, MEMBERS, member(50 + number)))
            case 1 if servers.members:
                whole = whole.with_pool(without_child(servers, MEMBERS, servers.members[0].id))
            case 2:
                whole = replace(whole, name=f"n{number}")
            case 3 if first is not None:
                more = front.with_policy(with_child(first, L7RULES, rule(500 + number, "/d")))
                whole = whole.with_listener(more)
            case 4 if first is not None:
                whole = whole.with_listener(without_child(front, L7POLICIES, first.id))
            case 5:
                whole = whole.with_listener(replace(front, connection_limit=number))
            case 6:
                address = f"10.0.0.{number + 1}"
                whole = replace(whole, vip=replace(whole.vip, address=address))
            case 7:
                whole = whole.with_pool(pool(600 + number, members=(member(70 + number),)))
    return whole


@given(edits())
def test_what_is_shared_changes_no_difference(steps: list[int]) -> None:
    after = edited(WHOLE, steps)
    near, far = difference(WHOLE, after), difference(WHOLE, copied(after))
    assert near == far


@given(edits())
def test_what_is_kept_changes_no_objection(steps: list[int]) -> None:
    objections(WHOLE)
    after = edited(WHOLE, steps)
    assert objections(after) == objections(copied(after))


@pytest.mark.parametrize("path", sorted(SCHEMA.glob("*.sql")), ids=lambda path: path.stem)
def test_a_migration_that_rewrites_trees_writes_their_roots_too(path: Path) -> None:
    """Processes of the release before may be running, and remember trees: what tells them that one
    has changed is the row of its load balancer."""
    text = path.read_text()
    children = "|".join(table.name for table in BELOW)
    if re.search(rf"(?i)\b(update|delete from|insert into)\s+({children})\b", text):
        assert re.search(r"(?i)\bupdate\s+load_balancers\b", text), path.name

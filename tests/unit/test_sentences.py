# SPDX-License-Identifier: Apache-2.0
"""History and events tell of a change with the names of its objects, whatever those are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.domain.l7 import L7Policy
from colonnade.domain.pools import Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import Algorithm, L7Action, MonitorType
from colonnade.store.rows.difference import difference
from colonnade.store.rows.sentences import told
from tests.haproxy_extras import OTHER, policy, rule
from tests.haproxy_trees import HTTP, listener, member, monitor, pool, tree

WEB = member(1, name="web2", address="10.0.0.12")
NAMELESS = replace(member(2, address="fd00::1"), protocol_port=8080)
SERVERS = pool(200, name="servers", members=(WEB, NAMELESS))
FILES = pool(201, name="files", members=())
STATIC = policy(300, L7Action.REDIRECT_TO_POOL, rule(400, "/s"), redirect_pool_id=OTHER)
FRONT = listener(100, HTTP, name="front", default_pool_id=SERVERS.id).with_policies(
    (replace(STATIC, name="static"),)
)
TREE = replace(tree((FRONT,), (SERVERS, FILES)), name="web")


def with_pool(new: Pool) -> LoadBalancer:
    return replace(TREE, pools=(new, FILES))


def with_member(**changes: object) -> LoadBalancer:
    return with_pool(replace(SERVERS, members=(replace(WEB, **changes), NAMELESS)))


def with_policy(new: L7Policy) -> LoadBalancer:
    return replace(TREE, listeners=(FRONT.with_policies((new,)),))


CHANGES: list[tuple[LoadBalancer, str]] = [
    (with_member(weight=0), "weight of member web2 1 -> 0 in pool servers"),
    (
        with_member(weight=5, backup=True),
        "member web2 (weight 1 -> 5, backup no -> yes) in pool servers",
    ),
    (with_member(name="a b"), "name of member web2 web2 -> 'a b' in pool servers"),
    (
        with_pool(replace(SERVERS, members=(WEB,))),
        "member [fd00::1]:8080 removed from pool servers",
    ),
    (
        with_pool(replace(SERVERS, members=(*SERVERS.members, member(3, name="web3")))),
        "member web3 added to pool servers",
    ),
    (
        with_pool(replace(SERVERS, lb_algorithm=Algorithm.LEAST_CONNECTIONS)),
        "lb_algorithm of pool servers ROUND_ROBIN -> LEAST_CONNECTIONS",
    ),
    (
        with_pool(replace(SERVERS, health_monitor=monitor(MonitorType.TCP))),
        "health monitor TCP added to pool servers",
    ),
    (
        with_pool(replace(SERVERS, members=tuple(member(n) for n in range(10, 14)))),
        "added 4 members to pool servers, removed 2 members from pool servers",
    ),
    (
        replace(TREE, listeners=(replace(FRONT, default_pool_id=FILES.id),)),
        "default_pool_id of listener front servers -> files",
    ),
    (
        with_policy(replace(STATIC, name="static", rules=(rule(401, "/t", invert=True),))),
        "L7 rule PATH not STARTS_WITH /t added to L7 policy static, "
        "L7 rule PATH STARTS_WITH /s removed from L7 policy static",
    ),
    (replace(TREE, name="shop"), "name of load balancer web web -> shop"),
    (replace(TREE, description="a\x1b[31m"), r"description of load balancer web '' -> 'a\x1b[31m'"),
]


@pytest.mark.parametrize(("after", "said"), CHANGES, ids=[said for _, said in CHANGES])
def test_a_change_is_told_with_names_and_values(after: LoadBalancer, said: str) -> None:
    assert told("updated", TREE, after, difference(TREE, after)) == f"updated: {said}"


def test_what_comes_or_goes_as_a_whole_is_counted() -> None:
    made = told("created", None, TREE, difference(None, TREE))
    assert made.startswith("created load balancer web: added 1 listener, ")
    assert "added 2 pools" in made
    assert "added 2 members to pool servers" in made
    gone = told("deleted", TREE, None, difference(TREE, None))
    assert gone.startswith("deleted load balancer web: removed 1 listener, ")


@given(st.text(max_size=255), st.text(max_size=255))
def test_no_name_ends_the_sentence_or_moves_a_cursor(name: str, other: str) -> None:
    was = with_member(name=name)
    now = with_pool(
        replace(SERVERS, name=other, members=(replace(WEB, name=name, weight=0), NAMELESS))
    )
    said = told("updated", was, now, difference(was, now))
    assert said.isprintable()
    assert "weight of member " in said

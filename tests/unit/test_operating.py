# SPDX-License-Identifier: Apache-2.0
"""Operating statuses of trees, from what an amphora says."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from colonnade.domain.checks import TEXT_MAX
from colonnade.domain.ids import HealthMonitorId
from colonnade.domain.operating import (
    HEALTH_MONITOR,
    LISTENER,
    LOAD_BALANCER,
    MEMBER,
    POOL,
    Facts,
    Node,
    State,
    statuses,
)
from colonnade.domain.pools import HealthMonitor
from colonnade.domain.status import Operating
from colonnade.domain.status import Operating as Op
from colonnade.domain.vocabulary import MonitorType
from colonnade.health.haproxy_states import facts_of_edge, facts_of_report
from colonnade.protocol.messages import CheckResult, ListenerStatus, ServerStatus, StatusReport


def node(kind: str, name: str, pool: str | None = None) -> Node:
    return Node(
        kind=kind,
        id=name,
        load_balancer_id="lb",
        pool_id=pool,
        is_up=True,
        changed=1,
        current=Op.OFFLINE,
    )


TREE = (
    node(LOAD_BALANCER, "lb"),
    node(LISTENER, "l", "p"),
    node(POOL, "p"),
    node(MEMBER, "a", "p"),
    node(MEMBER, "b", "p"),
    node(HEALTH_MONITOR, "m", "p"),
)


def altered(kind: str, name: str, **changes: object) -> tuple[Node, ...]:
    return tuple(replace(x, **changes) if (x.kind, x.id) == (kind, name) else x for x in TREE)


def told(members: Mapping[str, Op], **more: object) -> Facts:
    facts: dict[str, object] = {"generation": 1, "listeners": {"l": Op.ONLINE}}
    return Facts(**facts | {"members": {("p", m): s for m, s in members.items()}} | more)  # type: ignore[arg-type]


BOTH = {"a": Op.ONLINE, "b": Op.ONLINE}
# facts -> load balancer, listener, pool, member a, member b
CASES = {
    "all is well": (TREE, told(BOTH), "ONLINE ONLINE ONLINE ONLINE ONLINE"),
    "one member down": (
        TREE,
        told({"a": Op.ONLINE, "b": Op.ERROR}),
        "DEGRADED ONLINE DEGRADED ONLINE ERROR",
    ),
    "all members down": (
        TREE,
        told({"a": Op.ERROR, "b": Op.ERROR}),
        "ERROR ONLINE ERROR ERROR ERROR",
    ),
    "draining serves": (
        TREE,
        told({"a": Op.DRAINING, "b": Op.ONLINE}),
        "ONLINE ONLINE ONLINE DRAINING ONLINE",
    ),
    "a full listener": (
        TREE,
        told(BOTH, listeners={"l": Op.DEGRADED}),
        "DEGRADED DEGRADED ONLINE ONLINE ONLINE",
    ),
    "a listener that is not served": (
        TREE,
        told(BOTH, listeners={}),
        "ERROR ERROR ONLINE ONLINE ONLINE",
    ),
    "an edge leaves the rest": (
        altered(LISTENER, "l", current=Op.ONLINE),
        told({"a": Op.ERROR}, listeners=None),
        "ERROR ONLINE ERROR ERROR OFFLINE",
    ),
    "haproxy gone": (
        altered(LISTENER, "l", current=Op.ONLINE),
        told({}, listeners={}, is_running=False),
        "ERROR ERROR OFFLINE OFFLINE OFFLINE",
    ),
    "a listener changed later": (
        altered(LISTENER, "l", changed=2),
        told(BOTH, listeners={}),
        "ONLINE OFFLINE ONLINE ONLINE ONLINE",
    ),
    "a member changed later": (
        altered(MEMBER, "b", changed=2, current=Op.NO_MONITOR),
        told({"a": Op.ONLINE}),
        "ONLINE ONLINE ONLINE ONLINE NO_MONITOR",
    ),
    "load balancer down": (
        altered(LOAD_BALANCER, "lb", is_up=False),
        told(BOTH),
        "OFFLINE OFFLINE OFFLINE OFFLINE OFFLINE",
    ),
    "listener down": (
        altered(LISTENER, "l", is_up=False),
        told({}, listeners={}),
        "ONLINE OFFLINE OFFLINE OFFLINE OFFLINE",
    ),
    "pool down": (
        altered(POOL, "p", is_up=False),
        told({}),
        "ONLINE ONLINE OFFLINE OFFLINE OFFLINE",
    ),
    "member down by its owner": (
        altered(MEMBER, "b", is_up=False),
        told({"a": Op.ONLINE, "b": Op.OFFLINE}),
        "ONLINE ONLINE ONLINE ONLINE OFFLINE",
    ),
    "a pool that a policy alone uses": (
        altered(LISTENER, "l", pool_id=None, policy_pools=frozenset({"p"})),
        told({"a": Op.ONLINE, "b": Op.ERROR}),
        "DEGRADED ONLINE DEGRADED ONLINE ERROR",
    ),
    "a pool whose members take no new clients": (
        TREE,
        told(dict.fromkeys("ab", Op.DRAINING), closed_pools=frozenset({"p"})),
        "ERROR ONLINE ERROR DRAINING DRAINING",
    ),
    "an edge of a pool that takes no new clients": (
        altered(POOL, "p", current=Op.ERROR),
        told(dict.fromkeys("ab", Op.DRAINING), listeners=None),
        "ERROR OFFLINE ERROR DRAINING DRAINING",
    ),
    "an edge of a pool that takes clients again": (
        altered(POOL, "p", current=Op.ERROR),
        told(BOTH, listeners=None),
        "ONLINE OFFLINE ONLINE ONLINE ONLINE",
    ),
    "an unused pool without monitor": (
        tuple(
            replace(x, is_up=False) if x.kind == HEALTH_MONITOR else x
            for x in altered(LISTENER, "l", pool_id=None)
        ),
        told({}),
        "ONLINE ONLINE OFFLINE NO_MONITOR NO_MONITOR",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_statuses_follow_from_what_is_told(case: str) -> None:
    nodes, facts, expected = CASES[case]
    found = statuses(nodes, facts)
    order = ((LOAD_BALANCER, "lb"), (LISTENER, "l"), (POOL, "p"), (MEMBER, "a"), (MEMBER, "b"))
    assert " ".join(found[place].status for place in order) == expected
    monitor = next(x for x in nodes if x.kind == HEALTH_MONITOR)
    serves = monitor.is_up and found[POOL, "p"].status is not Op.OFFLINE
    if case != "haproxy gone":
        assert (found[HEALTH_MONITOR, "m"].status is Op.ONLINE) == serves


def test_an_empty_pool_and_a_bare_load_balancer_are_online() -> None:
    bare = (node(LOAD_BALANCER, "lb"),)
    assert statuses(bare, told({}))[LOAD_BALANCER, "lb"].status is Op.ONLINE
    empty = tuple(x for x in TREE if x.kind != MEMBER)
    assert statuses(empty, told({}))[POOL, "p"].status is Op.ONLINE


def test_reports_are_read_by_the_names_of_the_bundle() -> None:
    report = StatusReport(
        generation=7,
        haproxy_running=True,
        listeners=(ListenerStatus(name="l", state="FULL"), ListenerStatus(name="x", state="?")),
        servers=(
            ServerStatus(backend="p:one", name="a", state="DOWN"),
            ServerStatus(backend="p:two", name="a", state="UP"),
            ServerStatus(backend="p", name="b", state="NO_CHECK"),
            ServerStatus(backend="p", name="c", state="what?"),
        ),
    )
    facts = facts_of_report(report)
    assert facts.generation == 7
    assert facts.listeners == {"l": Op.DEGRADED}
    assert facts.members == {("p", "a"): Op.ERROR, ("p", "b"): Op.NO_MONITOR}


def test_an_edge_speaks_of_its_members_only() -> None:
    facts = facts_of_edge(3, True, {("p:x", "a"): "DRAIN", ("p", "b"): "MAINT"})
    assert facts.listeners is None
    assert facts.members == {("p", "a"): Operating.DRAINING, ("p", "b"): Operating.OFFLINE}


def test_a_number_too_large_for_the_store_is_cut() -> None:
    report = StatusReport(generation=2**64, haproxy_running=True)
    assert facts_of_report(report).generation == 2**63 - 1


MONITOR = HealthMonitor(
    id=HealthMonitorId("7f1de8a5-1b4c-4a63-9a1e-0d7c5ab1c0de"),
    type=MonitorType.HTTP,
    delay=5,
    timeout=3,
    max_retries=2,
    url_path="/healthz",
)
PLACE = "10.0.0.12:80"
# haproxy's check_status, code, words and duration -> what the owner reads
REASONS = {
    "refused": (
        ("L4CON", 0, "Connection refused", 0),
        "the connection to 10.0.0.12:80 failed (Connection refused)",
    ),
    "no route": (
        ("L4CON", 0, "No route to host", 0),
        "the connection to 10.0.0.12:80 failed (No route to host)",
    ),
    "no connection in time": (
        ("L4TOUT", 0, "", 3001),
        "10.0.0.12:80 did not accept a connection within 3 s",
    ),
    "no answer in time": (
        ("L7TOUT", 0, "", 0),
        "GET /healthz was not answered within 3 s",
    ),
    "no answer, by a clock that is coarse": (
        ("L7TOUT", 0, "", 2985),
        "GET /healthz was not answered within 3 s",
    ),
    "no answer, on a busy machine": (
        ("L7TOUT", 0, "", 3061),
        "GET /healthz was not answered within 3 s",
    ),
    "wrong code": (
        ("L7STS", 404, "Not Found", 2),
        "GET /healthz answered 404 Not Found, expected 200",
    ),
    "no HTTP": (("L7RSP", 0, "", 1), "the answer to GET /healthz is not HTTP"),
    "no TLS": (
        ("L6RSP", 0, "SSL handshake failure", 1),
        "the TLS handshake with 10.0.0.12:80 failed (SSL handshake failure)",
    ),
    "a word of another release": (("L9NEW", 0, "", 1), "the check of 10.0.0.12:80 failed"),
    "a liar": (
        ("L7STS", -4, "a\x1b[2J\x00b\n" + "c" * 9000, 2**70),
        f"the answer to GET /healthz is not as expected (a[2Jb{'c' * (TEXT_MAX - 8)})",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_a_member_that_is_down_says_why(case: str) -> None:
    (word, code, text, duration_ms), expected = REASONS[case]
    check = CheckResult(status=word, code=code, text=text, duration_ms=duration_ms)
    report = StatusReport(
        generation=1,
        haproxy_running=True,
        listeners=(ListenerStatus(name="l", state="OPEN"),),
        servers=(
            ServerStatus(backend="p", name="a", state="DOWN", check=check),
            ServerStatus(backend="p", name="b", state="UP"),
        ),
    )
    nodes = tuple(
        replace(x, name="web1", place=PLACE)
        if x.id == "a"
        else replace(x, monitor=MONITOR, name="pulse")
        if x.kind == HEALTH_MONITOR
        else x
        for x in TREE
    )
    found = statuses(nodes, facts_of_report(report))
    assert found[MEMBER, "a"] == State(Op.ERROR, expected)
    assert found[MEMBER, "b"] == State(Op.ONLINE)
    pool = f"1 of 2 members is down: web1 (10.0.0.12:80): {expected}"
    assert found[POOL, "p"] == State(Op.DEGRADED, pool)
    assert found[LOAD_BALANCER, "lb"] == State(Op.DEGRADED, f"pool p: {pool}")


def test_an_edge_keeps_the_reason_that_is_known() -> None:
    nodes = altered(MEMBER, "a", current=Op.ERROR, reason="it burns")
    found = statuses(nodes, told({"a": Op.ERROR}, listeners=None))
    assert found[MEMBER, "a"] == State(Op.ERROR, "it burns")
    assert statuses(nodes, told({"a": Op.ONLINE}))[MEMBER, "a"] == State(Op.ONLINE)


def test_reasons_name_a_few_and_count_the_rest() -> None:
    members = [replace(node(MEMBER, f"m{n}", "p"), place=f"10.0.0.{n}:80") for n in range(40)]
    nodes = [x for x in TREE if x.kind != MEMBER] + members
    facts = told({x.id: Op.ERROR for x in members})
    reason = statuses(nodes, facts)[POOL, "p"].reason
    assert reason.startswith("40 of 40 members are down: 10.0.0.0:80; 10.0.0.1:80; ")
    assert reason.endswith("; and 37 more")

# SPDX-License-Identifier: Apache-2.0
"""Trees hold their rules whatever is done to them, and a difference says exactly what to write."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.domain import limits
from colonnade.domain.errors import Conflict, Invalid, NotFound
from colonnade.domain.ids import (
    ClusterId,
    HealthMonitorId,
    ListenerId,
    LoadBalancerId,
    MemberId,
    NetworkId,
    PoolId,
    PortId,
    ProjectId,
    SubnetId,
    new_id,
)
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Persistence, Pool
from colonnade.domain.shape import LISTENERS, MEMBERS, POOLS
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import (
    Algorithm,
    ListenerProtocol,
    MonitorType,
    PersistenceType,
    PoolProtocol,
)
from colonnade.domain.walking import child, with_child
from colonnade.store.rows.difference import difference


def member(number: int = 1, **more: Any) -> Member:
    fields = {"id": MemberId(new_id()), "address": f"10.0.0.{number}", "protocol_port": 80}
    return Member(**(fields | more))  # type: ignore[arg-type]


def pool(*members: Member, **more: Any) -> Pool:
    fields = {
        "id": PoolId(new_id()),
        "protocol": PoolProtocol.HTTP,
        "lb_algorithm": Algorithm.ROUND_ROBIN,
        "members": members,
    }
    return Pool(**(fields | more))


def listener(port: int = 80, **more: Any) -> Listener:
    fields = {
        "id": ListenerId(new_id()),
        "protocol": ListenerProtocol.HTTP,
        "protocol_port": port,
    }
    return Listener(**(fields | more))  # type: ignore[arg-type]


def tree(*pools: Pool, listeners: tuple[Listener, ...] = (), **more: Any) -> LoadBalancer:
    return LoadBalancer(
        id=LoadBalancerId(new_id()),
        project_id=ProjectId("p"),
        cluster_id=ClusterId(new_id()),
        vip=Vip(
            address="192.0.2.1",
            port_id=PortId("p"),
            subnet_id=SubnetId("s"),
            network_id=NetworkId("n"),
        ),
        provider="noop",
        pools=pools,
        listeners=listeners,
        **more,
    )


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: member(protocol_port=0), Invalid),
        (lambda: member(protocol_port=65536), Invalid),
        (lambda: member(weight=257), Invalid),
        (lambda: member(address="224.0.0.1"), Invalid),
        (lambda: member(address="::"), Invalid),
        (lambda: member(monitor_port=0), Invalid),
        (lambda: member(name="x" * 256), Invalid),
        (lambda: member(tags=("x" * 256,)), Invalid),
        (lambda: member(tags=tuple(map(str, range(limits.TAGS_MAX + 1)))), Invalid),
        (lambda: pool(member(1), member(1)), Conflict),
        (lambda: listener(0), Invalid),
        (lambda: listener(connection_limit=-2), Invalid),
        (lambda: listener(timeout_client_data=-1), Invalid),
        (lambda: tree(listeners=(listener(80), listener(80))), Conflict),
        (
            lambda: tree(listeners=(listener(80), listener(80, protocol=ListenerProtocol.TCP))),
            Conflict,
        ),
        (lambda: tree(listeners=(listener(default_pool_id=PoolId("gone")),)), NotFound),
        (lambda: Persistence(type=PersistenceType.APP_COOKIE), Invalid),
        (lambda: Persistence(type=PersistenceType.SOURCE_IP, cookie_name="x"), Invalid),
    ],
)
def test_a_bad_value_cannot_be_made(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_listeners_of_different_transports_may_share_a_port() -> None:
    both = (listener(53), listener(53, protocol=ListenerProtocol.UDP))
    assert tree(listeners=both).listeners == both


def test_not_even_replace_makes_a_bad_tree() -> None:
    used = pool()
    whole = tree(used, listeners=(listener(default_pool_id=used.id),))
    with pytest.raises(NotFound):
        replace(whole, pools=())
    with pytest.raises(Invalid):
        whole.with_pool(replace(used, protocol=PoolProtocol.TCP))


def test_a_pool_that_goes_leaves_its_listeners_without_one() -> None:
    used = pool()
    whole = tree(used, listeners=(listener(default_pool_id=used.id),))
    assert whole.without_pool(used.id).listeners[0].default_pool_id is None
    with pytest.raises(NotFound):
        whole.without_pool(PoolId("other"))


def test_an_equal_tree_differs_in_nothing() -> None:
    whole = tree(pool(member(1)), listeners=(listener(),))
    again = replace(whole, pools=tuple(replace(p) for p in whole.pools))
    assert difference(whole, again).is_empty


def test_a_changed_member_is_one_row_and_touches_those_above_it() -> None:
    one, two = member(1), member(2)
    used, other = pool(one, two), pool(member(3))
    front = listener(default_pool_id=used.id)
    whole = tree(used, other, listeners=(front, listener(81)))
    found = difference(whole, whole.with_pool(with_child(used, MEMBERS, replace(one, weight=9))))
    assert [(p.id, p.parent_id) for p in found.altered] == [(one.id, used.id)]
    assert (found.added, found.removed, found.root_altered) == ((), (), False)
    assert found.touched[POOLS] == {used.id}
    assert found.touched[LISTENERS] == {front.id}


def test_a_pool_that_goes_takes_its_members_and_monitor_along() -> None:
    monitor = HealthMonitor(
        id=HealthMonitorId(new_id()),
        type=MonitorType.TCP,
        delay=1,
        timeout=1,
        max_retries=1,
    )
    gone = pool(member(1), member(2), health_monitor=monitor)
    whole = tree(gone, listeners=(listener(default_pool_id=gone.id),))
    found = difference(whole, whole.without_pool(gone.id))
    ids = {gone.id, monitor.id, *(m.id for m in gone.members)}
    assert {place.id for place in found.removed} == ids
    assert [place.id for place in found.altered] == [whole.listeners[0].id]


members = st.lists(
    st.builds(member, st.integers(1, 30), weight=st.integers(0, 5)),
    max_size=8,
    unique_by=lambda m: m.address,
)


@given(members, members, st.booleans())
def test_a_difference_leads_from_one_tree_to_the_other(
    before: list[Member], after: list[Member], keep: bool
) -> None:
    """Members that share an address share an id, as those of a batch do."""
    ids = {m.address: m.id for m in before}
    after = [replace(m, id=ids.get(m.address, m.id)) if keep else m for m in after]
    old = pool(*before)
    whole = tree(old)
    found = difference(whole, whole.with_pool(replace(old, members=tuple(after))))
    rows = {m.id: m for m in before}
    for place in found.removed:
        del rows[MemberId(place.id)]
    for place in (*found.altered, *found.added):
        assert isinstance(place.own, Member)
        rows[place.own.id] = place.own
    assert rows == {m.id: m for m in after}
    assert all(place.own != child(whole.pools[0], MEMBERS, place.id) for place in found.altered)

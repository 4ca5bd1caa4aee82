# SPDX-License-Identifier: Apache-2.0
"""The rate of requests per project: a bucket each, exact to the second, bounded in number."""

import pytest

from colonnade.api.identity.rates import Rates
from colonnade.domain.errors import Throttled
from colonnade.domain.ids import ProjectId
from colonnade.runtime.buckets import BUCKETS_MAX, Buckets
from tests.fakes.clock import Time

A, B = ProjectId("a"), ProjectId("b")


def taken(bucket: Rates, project: ProjectId | None) -> bool:
    try:
        bucket.take(project)
    except Throttled:
        return False
    return True


def test_a_project_gets_its_burst_and_then_its_rate() -> None:
    clock = Time()
    bucket = Rates(2.0, burst=5, clock=clock)
    assert [taken(bucket, A) for _ in range(7)] == [True] * 5 + [False] * 2
    clock.at += 0.5
    assert [taken(bucket, A) for _ in range(2)] == [True, False]
    clock.at += 3600
    assert [taken(bucket, A) for _ in range(6)] == [True] * 5 + [False]


def test_the_refusal_says_when_to_ask_again() -> None:
    clock = Time()
    bucket = Rates(0.1, burst=1, clock=clock)
    bucket.take(A)
    with pytest.raises(Throttled) as refusal:
        bucket.take(A)
    assert refusal.value.after_s == pytest.approx(10)
    clock.at += refusal.value.after_s
    bucket.take(A)


def test_projects_do_not_count_for_each_other() -> None:
    bucket = Rates(1.0, burst=1, clock=Time())
    assert taken(bucket, A)
    assert not taken(bucket, A)
    assert taken(bucket, B)


def test_by_default_and_without_a_project_nothing_is_counted() -> None:
    assert all(taken(Rates(0), A) for _ in range(1000))
    bucket = Rates(1.0, burst=1, clock=Time())
    assert all(taken(bucket, None) for _ in range(10))


def test_a_rate_alone_allows_what_comes_in_two_seconds() -> None:
    bucket = Rates(3.0, clock=Time())
    assert [taken(bucket, A) for _ in range(7)] == [True] * 6 + [False]


def test_there_are_only_so_many_buckets() -> None:
    counted = Buckets(1.0, burst=1, clock=Time())
    for number in range(BUCKETS_MAX + 10):
        assert counted.take(str(number)) == 0
    assert len(counted._buckets) == BUCKETS_MAX
    assert counted.take(str(BUCKETS_MAX)) == 1.0

# SPDX-License-Identifier: Apache-2.0
"""haproxy's tables as statuses and counters, on text that haproxy 2.8 printed."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.agent.haproxy.statistics import (
    ENDED_MAX,
    OF_NOW,
    Counters,
    Totals,
    down_servers,
    rows,
    server_state,
    status,
    totals,
)
from colonnade.protocol.bundle import Backend, Bundle, Server

GOLDEN = Path(__file__).parent / "golden"
SHOWN = (GOLDEN / "show-stat.csv").read_text()
STATE = (GOLDEN / "show-servers-state.txt").read_text()
SERVED = Bundle(
    generation=4,
    config="",
    frame="",
    backends=(
        Backend(
            name="pool",
            servers=tuple(Server(name=f"s{n}", address="203.0.113.1:80") for n in range(1, 5)),
        ),
    ),
)


def test_statuses_are_those_of_the_servers_that_the_bundle_names() -> None:
    report = status(rows(SHOWN), SERVED)
    assert report.generation == 4
    assert [(one.name, one.state) for one in report.listeners] == [("web", "OPEN")]
    assert {one.name: one.state for one in report.servers} == {
        "s1": "UP",
        "s2": "DOWN",
        "s3": "NO_CHECK",
        "s4": "MAINT",
    }
    assert status(rows(SHOWN), Bundle(generation=4, config="", frame="")).servers == ()


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("UP 1/3", "UP"),
        ("DOWN (agent)", "DOWN"),
        ("DOWN 1/2", "DOWN"),
        ("MAINT (via a/b)", "MAINT"),
        ("NOLB 1/2", "DRAIN"),
        ("DRAIN", "DRAIN"),
        ("no check", "NO_CHECK"),
        ("something new", "DOWN"),
    ],
)
def test_haproxys_words_for_a_server(text: str, state: str) -> None:
    assert server_state(text) == state


def test_totals_are_those_of_frontends_and_servers() -> None:
    counted = totals(rows(SHOWN))
    assert sorted(counted) == [*(f"pool/s{number}" for number in range(1, 6)), "web"]
    web = counted["web"]
    assert (web.total, web.requests, web.responses_2xx) == (3, 3, 3)
    assert web.bytes_in > 0


@pytest.mark.parametrize("text", ["", "Unknown command", "# nonsense\n1,2", SHOWN[:700]])
def test_text_that_is_no_table_gives_nothing(text: str) -> None:
    assert totals(rows(text)) == {}


def test_only_servers_that_are_down_and_unchanged_are_kept_over_a_reload() -> None:
    kept = down_servers(STATE, {("pool", "s1"), ("pool", "s2"), ("pool", "s4")}).splitlines()
    assert kept[:2] == STATE.splitlines()[:2]
    assert [line.split(" ")[3] for line in kept[2:]] == ["s2"]
    assert down_servers(STATE, set()).splitlines() == STATE.splitlines()[:2]


counted = st.builds(Totals, *[st.integers(0, 5)] * len(Totals.__struct_fields__))
samples = st.dictionaries(
    st.integers(1, 3),
    st.dictionaries(st.sampled_from(["a", "b", "pool/s1"]), counted, max_size=2),
    max_size=3,
)
RISING = {
    *Totals.__struct_fields__[OF_NOW:],
    *("total_connections", "request_errors", "denied_requests"),
}


@given(st.lists(samples, max_size=6))
def test_no_counter_ever_goes_back(readings: list[dict[int, dict[str, Totals]]]) -> None:
    counters = Counters()
    before: dict[tuple[str, str], int] = {}
    for reading in readings:
        counters = counters.read(reading)
        report = counters.report(SERVED)
        told: list[Any] = [*report.listeners, *report.members]
        now = {
            (one.name, field): getattr(one, field)
            for one in told
            for field in one.__struct_fields__
            if field in RISING
        }
        assert all(now.get(name, 0) >= total for name, total in before.items())
        before = now


def test_processes_are_summed_and_what_ended_is_remembered() -> None:
    old = {"a": Totals(active=2, bytes_in=10, bytes_out=20, errors=1, total=5)}
    new = {"a": Totals(active=1, bytes_in=1, bytes_out=1, total=1)}
    counters = Counters().read({7: old}).read({8: new, 7: old})
    assert counters.report(SERVED).listeners[0].total_connections == 6
    ended = counters.read({8: new}).report(SERVED).listeners[0]
    assert (ended.total_connections, ended.active_connections, ended.bytes_in) == (6, 1, 11)


def test_a_server_that_left_and_came_back_goes_on_where_it_was() -> None:
    first = {"pool/s1": Totals(active=1, queued=2, response_ms=9, total=5, responses_2xx=4)}
    again = {"pool/s1": Totals(response_ms=3, total=1, responses_2xx=1)}
    counters = Counters().read({7: first}).read({7: again})
    member = counters.report(SERVED).members[0]
    assert (member.backend, member.name) == ("pool", "s1")
    assert (member.total_connections, member.responses_2xx) == (6, 5)
    assert (member.active_connections, member.queued, member.response_ms) == (0, 0, 3)
    gone = Bundle(generation=5, config="", frame="")
    assert counters.report(gone).members == ()


def test_what_is_remembered_of_the_past_is_bounded() -> None:
    many = {f"pool/{number}": Totals(total=1) for number in range(ENDED_MAX + 1)}
    kept = {"a": Totals(total=1)}
    counters = Counters().read({1: many | kept}).read({2: kept})
    assert len(counters.ended) <= 1
    assert counters.report(SERVED).listeners[0].total_connections == 2

# SPDX-License-Identifier: Apache-2.0
"""haproxy's tables as statuses and counters, on text that haproxy 2.8 printed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.agent.statistics import (
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


def test_totals_are_those_of_frontends() -> None:
    counted = totals(rows(SHOWN))
    assert list(counted) == ["web"]
    assert counted["web"].total == 3
    assert counted["web"].bytes_in > 0


@pytest.mark.parametrize("text", ["", "Unknown command", "# nonsense\n1,2", SHOWN[:700]])
def test_text_that_is_no_table_gives_nothing(text: str) -> None:
    assert totals(rows(text)) == {}


def test_only_servers_that_are_down_and_unchanged_are_kept_over_a_reload() -> None:
    kept = down_servers(STATE, {("pool", "s1"), ("pool", "s2"), ("pool", "s4")}).splitlines()
    assert kept[:2] == STATE.splitlines()[:2]
    assert [line.split(" ")[3] for line in kept[2:]] == ["s2"]
    assert down_servers(STATE, set()).splitlines() == STATE.splitlines()[:2]


samples = st.dictionaries(
    st.integers(1, 3),
    st.dictionaries(
        st.sampled_from(["a", "b"]),
        st.builds(Totals, *[st.integers(0, 5)] * 5),
        max_size=2,
    ),
    max_size=3,
)


@given(st.lists(samples, max_size=6))
def test_connections_counted_never_go_back(readings: list[dict[int, dict[str, Totals]]]) -> None:
    counters = Counters()
    before: dict[str, int] = {}
    for reading in readings:
        counters = counters.read(reading)
        now = {one.name: one.total_connections for one in counters.report().listeners}
        assert all(now.get(name, 0) >= total for name, total in before.items())
        before = now


def test_processes_are_summed_and_what_ended_is_remembered() -> None:
    old, new = {"a": Totals(2, 10, 20, 1, 5)}, {"a": Totals(1, 1, 1, 0, 1)}
    counters = Counters().read({7: old}).read({7: old, 8: new})
    assert counters.report().listeners[0].total_connections == 6
    ended = counters.read({8: new}).report().listeners[0]
    assert (ended.total_connections, ended.active_connections, ended.bytes_in) == (6, 1, 11)

# SPDX-License-Identifier: Apache-2.0
"""Figures are drawn from what was measured as they should be: processor time, ratios, pictures."""

import os
import threading
import time
import xml.etree.ElementTree as Xml
from itertools import pairwise

from bench import peer, picture, scale
from bench.__main__ import PARTS, chosen
from bench.copies import ids
from bench.processes import megabytes, run_ns, spent_us
from bench.results import Run

SVG = "{http://www.w3.org/2000/svg}"


def measured(
    per_s: float, p50_ms: float = 1.0, api_us: float = 100.0, database_us: float = 0.0
) -> dict[str, float]:
    return {
        "per_s": per_s,
        "p50_ms": p50_ms,
        "api_cpu_us": api_us,
        "database_cpu_us": database_us,
    }


def compared_run(**times: float) -> Run:
    """A run in which each case is so many times better; 10 where nothing is said."""
    figures: dict[str, float | None] = {}
    for case in peer.CASES:
        n = times.get(case.name, 10.0)
        pair = (measured(20, 50, 4000, 1000), measured(20 * n, 50 / n, 4000 / n, 1000 / n))
        found = peer.beside([pair]) | {"load_average": 1.5}
        figures |= {f"{case.name}.{name}": value for name, value in found.items()}
    return Run(
        began="2026-01-02T030405Z",
        machine="2 cores",
        load_before=1.0,
        commit="abc1234",
        parts={"peer": figures},
        beside={"peer": "octavia 19 & <more>"},
    )


def test_what_takes_long_is_measured_only_by_its_name() -> None:
    assert chosen(["peer"]) == ["peer"]
    long = {"away", "chaos", "many", "peer", "shared", "takeover", "vips"}
    assert set(chosen([])) == set(PARTS) - long


def test_processor_time_is_what_ran_and_not_what_waited() -> None:
    assert run_ns("1288264 3746602 2\n") == 1_288_264


def test_processor_time_of_every_thread_is_counted() -> None:
    took, done, over = [0.0], threading.Event(), threading.Event()

    def work() -> None:
        sum(range(1_000_000))
        took[0] = time.thread_time()
        done.set()
        over.wait()

    before = spent_us(os.getpid())
    worker = threading.Thread(target=work)
    worker.start()
    done.wait()
    spent = spent_us(os.getpid()) - before
    over.set()
    worker.join()
    assert spent > took[0] * 1e6 / 2  # the last few milliseconds of a thread come with a delay


def test_memory_is_that_of_its_own_line() -> None:
    assert megabytes("Rss:   9000 kB\nPss:   2000 kB\nPss_Dirty:  1 kB\n", "Pss:") == 2.048


def test_a_ratio_is_the_middle_one_of_rounds_that_follow_each_other() -> None:
    """Not that of the middles: what disturbs both rounds of a pair must not count."""
    pairs = [
        (measured(10, 100, 900, 100), measured(100, 10, 90, 10)),
        (measured(1, 1000, 900, 100), measured(20, 50, 40, 10)),
        (measured(10, 100, 900, 100), measured(900, 1, 9, 1)),
    ]
    found = peer.beside(pairs)
    assert (found["theirs.per_s"], found["ours.per_s"]) == (10, 100)
    assert (found["times_per_s"], found["times_p50"], found["times_cpu"]) == (20, 20, 20)


def test_growth_is_against_the_smallest_in_the_same_turn() -> None:
    turns = [[measured(1, api_us=cost * noise) for cost in (100, 110, 300)] for noise in (1, 9, 2)]
    found = scale.growth(turns)
    assert [found[f"growth_{size}"] for size in scale.SIZES[1:]] == [1.1, 3.0]
    assert found[f"cpu_us_{scale.SIZES[0]}"] == 200


def test_ids_are_found_wherever_they_stand() -> None:
    one, other = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-2222-3333-4444-555555555555"
    assert ids([f'{{"id": "{other}", "of {one}": 1}}', one, "1111-2222"]) == [one, other]


def test_the_picture_has_bars_as_long_as_the_figures_say() -> None:
    drawn = Xml.fromstring(picture.compared(compared_run(get_one=80, post_member=20)))
    bars = [float(r.get("width", "")) for r in drawn.iter(f"{SVG}rect") if r.get("height") == "17"]
    assert len(bars) == 2 * len(peer.CASES)
    by_case = dict(zip([case.name for case in peer.CASES], bars[::2], strict=True))
    assert by_case["get_one"] == picture.BARS
    assert by_case["post_member"] == picture.BARS / 4


def test_the_picture_says_what_was_measured_and_where() -> None:
    drawn = Xml.fromstring(picture.compared(compared_run()))
    words = " ".join("".join(text.itertext()) for text in drawn.iter(f"{SVG}text"))
    for case in peer.CASES:
        assert case.words in words
    assert "abc1234" in words
    assert "octavia 19 & <more>" in words
    assert "load average 1.5 to 1.5" in words


def test_nothing_in_the_picture_lies_over_another_row() -> None:
    drawn = Xml.fromstring(picture.compared(compared_run()))
    tops = sorted(
        float(r.get("y", "")) for r in drawn.iter(f"{SVG}rect") if r.get("height") == "17"
    )
    assert all(below - above >= 17 for above, below in pairwise(tops))
    assert tops[-1] + 17 < float(drawn.get("viewBox", "").split()[3])


def test_a_table_has_a_row_for_each_case() -> None:
    table = picture.peer_table(compared_run(list_1000=20))
    assert [line.count("|") for line in table.splitlines()[2:]] == [11] * (len(peer.CASES) + 2)
    assert "| list of 1000, one client | 1 | 50 ms | 2.5 ms | 20x | < 15 ms |" in table


def test_what_was_not_answered_has_no_figure_and_a_place_in_the_table() -> None:
    turns = [[measured(1, api_us=2000.0 * n) for n in (1, 2, 3)]]
    figures: dict[str, float | None] = {}
    for name in scale.CASES:
        grown = scale.growth(turns) if name != "page_last" else {"growth_10000": None}
        figures |= {f"{name}.{key}": value for key, value in grown.items()}
        figures[f"{name}.load_average"] = 2.0
    run = Run(began="2026-01-02T030405Z", machine="", load_before=1.0, parts={"scale": figures})
    table = picture.scale_table(run)
    assert "| GET one | 2 | 4 | 6 | 2.00 | 3.00 | 2.0 |" in table
    assert "| last page | no answer | no answer | no answer |  |  | 2.0 |" in table

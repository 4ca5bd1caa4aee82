# SPDX-License-Identifier: Apache-2.0
"""Whatever happens, in whatever order: some runs of `make chaos`, and those that once failed."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.chaos.database import CLOCK, Line
from tests.chaos.runs import run
from tests.database import Databases


@pytest.fixture(scope="module")
def line(databases: Databases) -> Iterator[Line]:
    worlds = Databases(databases.server, "world", CLOCK)
    with worlds.fresh() as url, closing(Line(url)) as line:
        yield line


# 24061: one that had just been made was given up, because compute had been asked before it was.
# 100131: a seat that was lent when its amphora had been asked to leave stayed there for ever.
@pytest.mark.parametrize("seed", [*range(1, 13), 24061, 100131])
def test_a_run_ends_as_wished(line: Line, seed: int) -> None:
    outcome = run(line, seed)
    assert not outcome.wrong, f"again: make chaos SEED={seed} RUNS=1\n{outcome.story}"

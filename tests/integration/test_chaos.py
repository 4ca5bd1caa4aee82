# SPDX-License-Identifier: Apache-2.0
"""Whatever happens, in whatever order: some runs of `make chaos`, and those that once failed."""

from collections.abc import Iterator

import pytest

from tests.chaos.database import CLOCK
from tests.chaos.runs import run
from tests.database import Databases


@pytest.fixture(scope="module")
def worlds(databases: Databases) -> Databases:
    return Databases(databases.server, "world", CLOCK)


@pytest.fixture
def world_url(worlds: Databases) -> Iterator[str]:
    with worlds.fresh() as url:
        yield url


@pytest.mark.parametrize("seed", range(1, 13))
def test_a_run_ends_as_wished(world_url: str, seed: int) -> None:
    outcome = run(world_url, seed)
    assert not outcome.wrong, f"again: make chaos SEED={seed} RUNS=1\n{outcome.story}"

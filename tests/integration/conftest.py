# SPDX-License-Identifier: Apache-2.0
"""What several of these tests ask for. A module whose bench is furnished otherwise has its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agent_bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """One agent that serves nothing yet."""
    made = Bench(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        await made.end()

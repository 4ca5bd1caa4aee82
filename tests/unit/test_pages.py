# SPDX-License-Identifier: Apache-2.0
"""What is made from the lifecycle table agrees with it: the page, and the schema's CHECK."""

import re
from pathlib import Path

import pytest

from colonnade.domain.lifecycle import State
from tools import tables

SCHEMA = Path(__file__).parents[2] / "colonnade" / "store" / "schema"


@pytest.mark.parametrize("path", tables.PAGES, ids=lambda path: path.name)
def test_a_made_page_is_as_the_code_makes_it(path: Path) -> None:
    assert path.read_text() == tables.PAGES[path](), "run `make docs`"


def test_the_schema_allows_exactly_the_states_of_the_table() -> None:
    text = (SCHEMA / "0001-first.sql").read_text()
    match = re.search(r"CHECK \(state IN \(([^)]*)\)\)", text)
    assert match is not None
    assert set(re.findall(r"'(\w+)'", match[1])) == {state.value for state in State}

# SPDX-License-Identifier: Apache-2.0
"""Pages that are made from the code say what it says."""

from pathlib import Path

import pytest

from tools import tables


@pytest.mark.parametrize("path", tables.PAGES, ids=lambda path: path.name)
def test_a_made_page_is_as_the_code_makes_it(path: Path) -> None:
    assert path.read_text() == tables.PAGES[path](), "run `make docs`"

# SPDX-License-Identifier: Apache-2.0
"""Every test that the pages name is there, and each row of the topologies has one."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
TESTS: Final = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py")]
QUOTED: Final = re.compile(r"`([^`\n]+)`")
NAMED: Final = re.compile(r"[\w/]*\btest_[\w*]+(?:\.py)?")
ROW: Final = re.compile(
    r"^\| S(\d+) \| [^|]+ \| `(tests/[\w/]+\.py)`, `(test_\w+)` \|$", re.MULTILINE
)
ROWS: Final = range(109, 133)


def functions(files: Iterable[Path]) -> set[str]:
    return {
        name
        for file in files
        for name in re.findall(
            r"^ *(?:async )?def (test_\w+)", (ROOT / file).read_text(), re.MULTILINE
        )
    }


def is_there(word: str, files: Sequence[Path], names: set[str]) -> bool:
    """A file, by its path or its name, or a function. `*`, and a word in capitals: any letters."""
    word = re.sub(r"[A-Z]{2,}", "*", word)
    if word.endswith(".py"):
        return any(fnmatch(str(file) if "/" in word else file.name, word) for file in files)
    return any(fnmatch(name, word) for name in names)


def named(text: str) -> set[str]:
    """What begins with test_ in a text's quotes, or is a file below tests/."""
    return {word for quote in QUOTED.findall(text) for word in NAMED.findall(quote)}


def test_each_test_that_a_page_names_is_there() -> None:
    names = functions(TESTS)
    found = [(page.name, word) for page in PAGES for word in sorted(named(page.read_text()))]
    assert len(found) > 200
    assert [one for one in found if not is_there(one[1], TESTS, names)] == []


def test_each_row_of_the_topologies_has_a_test_in_the_file_that_is_named() -> None:
    rows = ROW.findall((ROOT / "docs" / "architecture.md").read_text())
    assert sorted({int(number) for number, _, _ in rows}) == list(ROWS)
    assert [row for row in rows if row[2] not in functions([Path(row[1])])] == []


def test_what_is_not_there_is_noticed() -> None:
    assert named("`pytest -s tests/unit/test_plan.py`, test_x, `test_of_*.py` `a test_y`") == {
        "tests/unit/test_plan.py",
        "test_of_*.py",
        "test_y",
    }
    assert is_there("test_plan.py", TESTS, set())
    assert is_there("tests/unit/test_pl*.py", TESTS, set())
    assert is_there("tests/contract/test_KIND_driver.py", TESTS, set())
    assert not is_there("tests/unit/test_plans.py", TESTS, set())
    assert is_there("test_what_*", (), {"test_what_is"})
    assert not is_there("test_what", (), {"test_what_is"})

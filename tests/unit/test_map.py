# SPDX-License-Identifier: Apache-2.0
"""The map of the code says what the tree says: packages, rooms, sentences and imports."""

import ast
from pathlib import Path

import pytest

from tools.map import direct, drawing, floors, packages


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def three_floors(root: Path) -> Path:
    return tree(
        root,
        {
            "top/__init__.py": "",
            "top/calls.py": "from colonnade.middle.room import rows\nimport colonnade.ground.v\n",
            "middle/__init__.py": '"""Keeps <rows>."""\n',
            "middle/room/__init__.py": "",
            "middle/room/rows.py": "def f():\n    from colonnade.ground import values\n",
            "ground/__init__.py": "",
            "ground/values.py": "",
        },
    )


def test_an_arrow_that_follows_from_others_is_left_out(tmp_path: Path) -> None:
    found = packages(three_floors(tmp_path))
    assert {p.name: set(p.uses) for p in found}["top"] == {"middle", "ground"}
    assert direct(found) == {"top": ["middle"], "middle": ["ground"], "ground": []}
    assert floors(direct(found)) == [["top"], ["middle"], ["ground"]]


def test_the_map_says_rooms_and_sentences_escaped(tmp_path: Path) -> None:
    drawn = drawing(three_floors(tmp_path))
    assert "room/" in drawn
    assert "Keeps &lt;rows&gt;." in drawn
    assert drawn.count("marker-end") == 2


def test_packages_that_import_in_a_circle_are_named(tmp_path: Path) -> None:
    circle = {
        "one/__init__.py": "",
        "one/a.py": "import colonnade.two.b\n",
        "two/__init__.py": "",
        "two/b.py": "from colonnade import one\n",
    }
    with pytest.raises(ValueError, match="one -> two -> one"):
        direct(packages(tree(tmp_path, circle)))


def test_every_package_of_ours_has_a_sentence() -> None:
    from tools.tables import CODE

    rooms = CODE.glob("*/__init__.py")
    assert [path for path in rooms if not ast.get_docstring(ast.parse(path.read_text()))] == []

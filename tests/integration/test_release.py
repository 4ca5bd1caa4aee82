# SPDX-License-Identifier: Apache-2.0
"""A release, on a copy of the tree: built, tried, and refused with the tree as it was.

Needs a package index for the part that builds.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

import colonnade
from tools.release import Refused, closed, release
from tools.tables import CODE

VERSION = colonnade.__version__
DAY = "2031-02-03"
OPEN = (
    f"# Changes\n\n## {VERSION} (unreleased)\n\n- Something new.\n\n"
    "## 0.0.1 (2030-01-01)\n\n- Old.\n"
)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What git would keep of this tree, as one commit, with one change to release."""
    folder = tmp_path / "copy"
    names = git(CODE.parent, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, names.split("\0")):
        if (CODE.parent / name).is_file():  # not one that was just deleted
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CODE.parent / name, target)
    (folder / "CHANGELOG.md").write_text(OPEN)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "All")
    return folder


def test_a_release_is_built_tried_and_left_to_a_person_to_commit(copy: Path) -> None:
    built = release(copy, DAY)
    assert sorted(path.name for path in built) == [
        f"colonnade-{VERSION}-py3-none-any.whl",
        f"colonnade-{VERSION}.tar.gz",
    ]
    assert all(path.parent == copy / "dist" for path in built)
    assert (copy / "CHANGELOG.md").read_text() == OPEN.replace("unreleased", DAY)
    assert git(copy, "status", "--porcelain").split() == ["M", "CHANGELOG.md"]
    assert git(copy, "tag") == ""


def test_a_tree_with_changes_is_refused(copy: Path) -> None:
    (copy / "README.md").write_text("changed")
    with pytest.raises(Refused, match=r"not committed \(README.md and 0 more\): commit them"):
        release(copy, DAY)
    assert not (copy / "dist").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (OPEN.replace("- Something new.\n", ""), f"has nothing under {VERSION}"),
        (OPEN.replace("unreleased", DAY), "does not begin with an open section"),
        (OPEN.replace(VERSION, "99.0"), "is about to release 99.0"),
        ("", "does not begin with an open section"),
    ],
)
def test_a_changelog_that_is_not_ready_is_refused(changes: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        closed(changes, VERSION, DAY)

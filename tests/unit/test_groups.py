# SPDX-License-Identifier: Apache-2.0
"""What is written into control groups of either version; a folder plays the kernel's part."""

import os
from pathlib import Path

import pytest

from colonnade.drivers.network.namespaces import groups
from colonnade.drivers.network.namespaces.groups import Bounds

BOUNDS = Bounds(memory_bytes=5_000_000, processes=77)


def test_version_2_has_one_group_with_both_limits(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    found = groups.found("system", BOUNDS, tmp_path)
    found.put("one", [4711], is_bounded=True)
    assert found.are_there
    for folder in (tmp_path, tmp_path / "system"):
        assert (folder / "cgroup.subtree_control").read_text() == "+memory +pids"
    said = {path.name: path.read_text() for path in (tmp_path / "system" / "one").iterdir()}
    assert said == {"memory.max": "5000000", "pids.max": "77", "cgroup.procs": "4711"}


def test_where_the_lab_has_a_part_of_its_own_the_groups_are_in_it(tmp_path: Path) -> None:
    part = tmp_path / "system.slice" / "lab.service"
    part.mkdir(parents=True)
    for place in (tmp_path, part):
        (place / "cgroup.controllers").write_text("cpu memory\n")
    own = tmp_path / "own"
    own.write_text("1:name=systemd:/\n0::/system.slice/lab.service\n")
    groups.enter_lab_group(tmp_path, own)
    assert (part / groups.LAB / "cgroup.procs").read_text() == str(os.getpid())
    own.write_text(f"0::/system.slice/lab.service/{groups.LAB}\n")
    found = groups.found("system", BOUNDS, tmp_path, own)
    found.put("one", [4711], is_bounded=True)
    found.put("two", [4712], is_bounded=False)
    assert (part / "cgroup.subtree_control").read_text() == "+memory"
    one, two = ({f.name: f.read_text() for f in (part / n).iterdir()} for n in ("one", "two"))
    assert one == {"memory.max": "5000000", "cgroup.procs": "4711"}
    assert two == {"cgroup.procs": "4712"}


def test_version_1_has_a_group_for_each_limit(tmp_path: Path) -> None:
    for name in ("memory", "pids", "cpu"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    groups.found("system", BOUNDS, tmp_path).put("one", [4711], is_bounded=True)
    memory, pids = (tmp_path / name / "system" / "one" for name in ("memory", "pids"))
    assert (memory / "memory.limit_in_bytes").read_text() == "5000000"
    assert (pids / "pids.max").read_text() == "77"
    assert {(place / "cgroup.procs").read_text() for place in (memory, pids)} == {"4711"}
    assert not (tmp_path / "cpu" / "system").exists()


def test_without_groups_nothing_is_written_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "cgroup.controllers").write_text("cpu io\n")  # of a container
    for root in (tmp_path / "without", tmp_path / "foreign"):
        found = groups.found("system", BOUNDS, root)
        found.put("one", [4711], is_bounded=True)
        found.remove("one")
        groups.remove_all("system", root)
        assert not found.are_there
        assert not (root / "system").exists()


def test_all_groups_of_a_system_are_removed_and_no_others(tmp_path: Path) -> None:
    for system in ("system", "other"):
        (tmp_path / "memory" / system / "one").mkdir(parents=True)
    groups.remove_all("system", tmp_path)
    assert [path.name for path in (tmp_path / "memory").iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("kinds", "cause"),
    [
        ((), "none are mounted at"),
        (("pids", "cpu"), "the kernel has none for memory"),
        (("pids", "memory"), ""),
    ],
)
def test_it_is_told_what_bounds_are_missing(
    kinds: tuple[str, ...], cause: str, tmp_path: Path
) -> None:
    for name in kinds:
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    said, cure = groups.what_is_missing(tmp_path)
    assert said.startswith(cause)
    assert bool(said) == bool(cure) == bool(cause)
    assert not [path for name in kinds for path in (tmp_path / name).iterdir() if path.is_dir()]


def test_groups_of_a_container_and_groups_that_are_read_only_are_told(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "cgroup.procs").touch()
    (tmp_path / "foreign" / "cgroup.controllers").write_text("cpu pids\n")
    assert groups.what_is_missing(tmp_path / "foreign")[0] == "the kernel has none for memory"
    for name in ("memory", "pids"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
        (tmp_path / name / f"colonnade-look-{os.getpid()}").touch()  # no folder can be made there
    assert "writable" in groups.what_is_missing(tmp_path)[0]

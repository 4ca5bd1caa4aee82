# SPDX-License-Identifier: Apache-2.0
"""Logs stay bounded while their writers go on writing."""

from pathlib import Path

from colonnade.cli.local.log_rotation import rotate


def test_a_log_is_set_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    with path.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(b"%d" % number * 100)
            assert rotate(path, bytes_max=50, kept=2)
            assert path.read_bytes() == b""
        writer.write(b"new")
    assert path.read_bytes() == b"new"
    assert (tmp_path / "api.log.1").read_bytes() == b"4" * 100
    assert (tmp_path / "api.log.2").read_bytes() == b"3" * 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["api.log", "api.log.1", "api.log.2"]
    assert (tmp_path / "api.log.1").stat().st_mode & 0o077 == 0


def test_a_short_log_and_none_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    assert not rotate(path)
    path.write_text("short")
    assert not rotate(path, bytes_max=5)
    assert path.read_text() == "short"


def test_without_room_for_the_old_one_the_log_is_emptied_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_text("x" * 100)
    (tmp_path / "api.log.1").mkdir()  # what cannot be written to
    (tmp_path / "api.log.1" / "x").touch()
    try:
        assert rotate(path, bytes_max=5, kept=1)
    except OSError:
        raise AssertionError("it must not end the supervisor") from None
    assert path.read_text() == ""

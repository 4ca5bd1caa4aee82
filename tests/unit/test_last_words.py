# SPDX-License-Identifier: Apache-2.0
"""What a supervisor quotes of the log of a process that ended."""

from pathlib import Path

import pytest

from colonnade.cli.local.log_tail import last_words

EVENT = '{"process": "api", "event": "not stored", "reason": "the disk is full"}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("begins\ncolonnade: no place (left\nover)\n", "no place (left\nover)"),
        (EVENT, "not stored: the disk is full"),
        ("Traceback:\n  File\nKeyError: 'x'\n\n", "KeyError: 'x'"),
        ('{"event": "broke", "exception": "Traceback\\nKeyError: 1"}', "broke: KeyError: 1"),
        ("x" * 5000, "x" * 1000),
        ("nsenter: no such process", "nsenter: no such process"),
    ],
)
def test_the_reason_is_quoted(text: str, said: str, tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("colonnade: of an earlier run\n")
    earlier = log.stat().st_size
    with log.open("a") as file:
        file.write(text)
    assert last_words(log, earlier) == said


def test_silence_names_the_log_and_an_emptied_log_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    assert str(log) in last_words(log)
    log.write_text("old\n")
    assert str(log) in last_words(log, 4)
    assert last_words(log, 400) == "old"

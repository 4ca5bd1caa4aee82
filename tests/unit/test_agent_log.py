# SPDX-License-Identifier: Apache-2.0
"""Lines of all agents of a machine end in one file, so each says whose it is, and nobody who can
send datagrams can fill it."""

import json
import logging
import sys
import uuid
from pathlib import Path

import pytest

from colonnade.agent.folder import Folder
from colonnade.agent.heartbeat.sender import HeartbeatSender
from colonnade.agent.own_log import LogLine

AMPHORA = "5f97205d-caad-4a5e-a9a4-13b6a600a450"


def test_a_line_is_one_json_object_that_names_its_amphora() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = logging.LogRecord(
            "agent", logging.INFO, __file__, 1, "two\nlines %s", ("told",), sys.exc_info()
        )
    text = LogLine(AMPHORA).format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line["amphora_id"] == AMPHORA
    assert (line["process"], line["level"], line["event"]) == ("agent", "info", "two\nlines told")
    assert "ValueError: first" in line["exception"]


def test_a_flood_of_forgeries_is_counted_and_leaves_a_handful_of_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sender = HeartbeatSender(str(uuid.uuid4()), b"k" * 32, Folder(tmp_path))
    for size in range(1000):
        sender.datagram_received(bytes(size), ("198.18.0.9", 1))
    assert sender.dropped.total() == 1000
    assert 1 <= len(caplog.records) <= 30

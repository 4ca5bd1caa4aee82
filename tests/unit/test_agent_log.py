# SPDX-License-Identifier: Apache-2.0
"""Lines of all agents of a machine end in one file, so each says whose it is."""

import json
import logging
import sys

from colonnade.agent.main import _LogLine

AMPHORA = "5f97205d-caad-4a5e-a9a4-13b6a600a450"


def test_a_line_is_one_json_object_that_names_its_amphora() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = logging.LogRecord(
            "agent", logging.INFO, __file__, 1, "two\nlines %s", ("told",), sys.exc_info()
        )
    text = _LogLine(AMPHORA).format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line["amphora_id"] == AMPHORA
    assert (line["process"], line["level"], line["event"]) == ("agent", "info", "two\nlines told")
    assert "ValueError: first" in line["exception"]

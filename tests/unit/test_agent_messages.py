# SPDX-License-Identifier: Apache-2.0
"""The page on the amphora API shows what really goes over the wire."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from colonnade.protocol import messages
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.logs import LogPlaces, LogQuestion

PAGE = Path(__file__).parents[2] / "docs/protocol/amphora-api.md"
TYPES = {
    "Bundle": Bundle,
    "LogPlaces": LogPlaces,
    "LogQuestion": LogQuestion,
    **{
        name: getattr(messages, name)
        for name in (
            "Applied",
            "Drain",
            "Drained",
            "Info",
            "NewSeat",
            "Numbers",
            "Peers",
            "Refusal",
            "Renewal",
            "Renewing",
            "Report",
            "StatisticsReport",
            "StatusReport",
        )
    },
}


def examples() -> dict[str, str]:
    return dict(re.findall(r"```json (\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_each_body_is_shown_as_it_is(name: str) -> None:
    text = examples()[name]
    body = msgspec.json.decode(text, type=TYPES[name])
    assert json.loads(msgspec.json.encode(body)) == json.loads(text)


def test_the_ports_are_right() -> None:
    text = PAGE.read_text()
    assert f"TCP {messages.PORT_AGENT}" in text
    assert f"TCP {messages.PORT_CONTROLLER}" in text

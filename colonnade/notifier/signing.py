# SPDX-License-Identifier: Apache-2.0
"""Messages to webhooks and their signatures, as Standard Webhooks has them. Pure.

The scheme (https://www.standardwebhooks.com, specification 1.0): HMAC-SHA256 over the id of the
message, the time at which it is sent and its body, parted by full stops. There is a signature for
each secret that is good now. The id says which events are in it: one that is sent again has the
same, unless more have come meanwhile, which are then in it too.
"""

import base64
import hmac
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from colonnade.store.queue.events import Recorded
from colonnade.store.queue.shown_events import show

EVENTS_MAX: Final = 100  # in one message
BODY_BYTES_MAX: Final = 256 * 1024
TEXT_MAX: Final = 2000  # of an event's own words
MISSED: Final = "Events before these were forgotten before they could be sent."


class Message(msgspec.Struct, frozen=True):
    """`events`: how many of those that wait are in it."""

    id: str
    body: bytes
    events: Sequence[Recorded] = ()


def of_events(webhook_id: str, waiting: Sequence[Recorded], *, missed: bool) -> Message:
    """The first of those that wait, as many as fit."""
    shown: list[dict[str, Any]] = []
    size = 0
    for one in waiting[:EVENTS_MAX]:
        words = show(one)
        words["message"] = words["message"][:TEXT_MAX]
        size += len(msgspec.json.encode(words))
        if shown and size > BODY_BYTES_MAX:
            break
        shown.append(words)
    told = waiting[: len(shown)]
    at = told[0].at if told else datetime.now(UTC)
    place = f"{told[0].id}_{told[-1].id}" if told else "missed"
    data = {
        "webhook_id": webhook_id,
        "events": shown,
        "missed": MISSED if missed else None,
    }
    return Message(f"msg_{webhook_id}_{place}", _body("events", at, data), told)


def of_trial(webhook_id: str, ping: str) -> Message:
    data: dict[str, Any] = {"webhook_id": webhook_id, "events": [], "missed": None}
    return Message(ping, _body("ping", datetime.now(UTC), data))


def headers(message: Message, keys: Collection[bytes], at: datetime) -> Mapping[str, str]:
    seconds = str(int(at.timestamp()))
    signed = b".".join((message.id.encode(), seconds.encode(), message.body))
    return {
        "content-type": "application/json",
        "user-agent": "Colonnade",
        "webhook-id": message.id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{_signature(key, signed)}" for key in keys),
    }


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _body(kind: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    moment = at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return msgspec.json.encode({"type": kind, "timestamp": moment, "data": data})

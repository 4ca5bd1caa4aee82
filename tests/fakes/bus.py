# SPDX-License-Identifier: Apache-2.0
"""A message bus in memory: what it took, in the order in which it came.

It may stand in for RabbitMQ because it passes the same promises (`tests/openstack/`).
"""

from typing import Any

import msgspec

from colonnade.domain.errors import Unreachable


class FakeBroker:
    def __init__(self) -> None:
        self._kept: list[tuple[str, bytes]] = []
        self._is_there = True

    def bus(self) -> "FakeBus":
        return FakeBus(self)

    async def leave(self) -> None:
        self._is_there = False

    async def come_back(self) -> None:
        self._is_there = True

    def take(self, message_id: str, body: bytes) -> None:
        if not self._is_there:
            raise Unreachable("the message bus is away")
        self._kept.append((message_id, body))

    async def messages(self) -> list[Any]:
        """All that came since this was asked last, as `read` has them."""
        kept, self._kept = self._kept, []
        return [read(*one) for one in kept]


class FakeBus:
    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    async def publish(self, message_id: str, body: bytes) -> None:
        self._broker.take(message_id, body)

    async def close(self) -> None:
        pass


def read(message_id: str | None, body: bytes) -> Any:
    """What is in the envelope."""
    envelope = msgspec.json.decode(body)
    assert envelope.keys() == {"oslo.version", "oslo.message"}, envelope
    assert envelope["oslo.version"] == "2.0"
    found = msgspec.json.decode(envelope["oslo.message"])
    assert found["message_id"] == message_id
    return found

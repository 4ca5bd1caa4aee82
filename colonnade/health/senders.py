# SPDX-License-Identifier: Apache-2.0
"""Who may send datagrams: each amphora's key, and the highest sequence heard of it.

Keys come from the store the first time that an amphora speaks; meanwhile its newest datagram
waits, so that the first heartbeat of an amphora is not lost. Strangers are remembered for a
while. All of it is bounded, so that a flood of invented names costs little and grows nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

from colonnade.domain.errors import Unavailable
from colonnade.runtime.clock import Clock

WAITING_MAX: Final = 1000
STRANGERS_MAX: Final = 10_000
STRANGER_S: Final = 10.0
LOOKUP_MAX: Final = 500
RETRY_S: Final = 0.2
FORGOTTEN_S: Final = 3600.0


class Unknown(Exception):
    """The name of an amphora whose key is not known yet."""

    def __init__(self, amphora: UUID) -> None:
        self.amphora = amphora


class Sender:
    """One amphora, as far as its datagrams go. Changes in place: this is the hot path."""

    __slots__ = ("counted_at", "is_greeted", "key", "seen_at", "sequence", "status")

    def __init__(self, key: bytes, sequence: int) -> None:
        self.key = key
        self.sequence = sequence  # the last one that was accepted
        self.status = b""  # the newest digest whose report is known or being asked for
        self.seen_at = 0.0
        self.counted_at = float("-inf")  # when it was last asked for all of its counters
        self.is_greeted = False  # whether the store knows that it spoke

    def __repr__(self) -> str:
        return f"Sender(sequence={self.sequence})"


class Keys(Protocol):
    async def __call__(self, amphorae: Sequence[UUID]) -> Mapping[UUID, tuple[bytes, int]]:
        """Key and last recorded sequence of those that exist. Raises Unavailable."""


class Senders:
    """All known senders, and those that are being looked up."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self.known: dict[UUID, Sender] = {}
        self._keys = keys
        self._clock = clock
        self._waiting: dict[UUID, bytes] = {}
        self._strangers: dict[UUID, float] = {}
        self._asked = asyncio.Event()

    def key_of(self, amphora: UUID) -> bytes:
        """For `protocol.datagram.decode`. Raises Unknown."""
        sender = self.known.get(amphora)
        if sender is None:
            raise Unknown(amphora)
        return sender.key

    def hold(self, amphora: UUID, datagram: bytes) -> bool:
        """Keep it until the sender is known. False: a stranger, or too many wait already."""
        until = self._strangers.get(amphora)
        if until is not None and self._clock.monotonic() < until:
            return False
        if len(self._waiting) >= WAITING_MAX and amphora not in self._waiting:
            return False
        self._waiting[amphora] = datagram
        self._asked.set()
        return True

    async def look_up(self, accept: Callable[[bytes], None]) -> None:
        """For ever: ask for those that wait, and give `accept` what they had sent."""
        while True:
            await self._asked.wait()
            names = list(self._waiting)[:LOOKUP_MAX]
            try:
                found = await self._keys(names)
            except Unavailable:
                await self._clock.sleep(RETRY_S)
                continue
            self._learn(names, found)
            held = [self._waiting.pop(name) for name in names]
            if not self._waiting:
                self._asked.clear()
            for name, datagram in zip(names, held, strict=True):
                if name in self.known:
                    accept(datagram)

    def forget_silent(self) -> None:
        """Drop those not heard of for an hour: most are gone, the others will be looked up."""
        line = self._clock.monotonic() - FORGOTTEN_S
        for name in [name for name, sender in self.known.items() if sender.seen_at < line]:
            del self.known[name]

    def _learn(self, names: Sequence[UUID], found: Mapping[UUID, tuple[bytes, int]]) -> None:
        now = self._clock.monotonic()
        for name, (key, sequence) in found.items():
            sender = self.known.setdefault(name, Sender(key, sequence))
            sender.seen_at = now
        for name in names:
            if name not in found:
                self._strangers.pop(name, None)
                self._strangers[name] = now + STRANGER_S
        while len(self._strangers) > STRANGERS_MAX:
            del self._strangers[next(iter(self._strangers))]

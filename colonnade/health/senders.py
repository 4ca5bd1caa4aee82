# SPDX-License-Identifier: Apache-2.0
"""Who may send datagrams: each amphora's key, and the highest sequence heard of it.

The keys of all amphorae are kept in memory. The key of a new amphora comes from the store when it
first speaks; until then its newest datagram waits, so that its first heartbeat is not lost. Names
that the store does not know are remembered for a while. The number of waiting datagrams and of
questions to the store is bounded: a flood of invented names costs little and uses no more memory,
and known amphorae are heard all the same.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

from colonnade.domain.errors import Unavailable
from colonnade.domain.ids import AmphoraId
from colonnade.runtime.clock import Clock

WAITING_MAX: Final = 1000
STRANGERS_MAX: Final = 10_000
STRANGER_S: Final = 10.0
LOOKUP_MAX: Final = 500
RETRY_S: Final = 0.2
STRANGERS_PAUSE_S: Final = 0.2  # after a look-up that found a stranger; a new amphora is never one
KEEP_S: Final = 10.0


class Unknown(Exception):
    """The name of an amphora whose key is not known yet."""

    def __init__(self, name: bytes) -> None:
        self.name = name


class Sender:
    """What is known of the datagrams of one amphora. It is changed in place: this is the hot
    path."""

    __slots__ = (
        "counted_at",
        "generation",
        "heard_at",
        "id",
        "is_greeted",
        "key",
        "load",
        "receivers",
        "sequence",
        "status",
    )

    def __init__(self, amphora_id: AmphoraId, key: bytes, sequence: int) -> None:
        self.id = amphora_id
        self.key = key
        self.sequence = sequence  # the last one that was accepted
        self.heard_at = 0.0  # when that was
        self.generation = 0  # of its newest heartbeat, as are the next two
        self.load = 0.0
        self.receivers = 0
        self.status = b""  # the newest digest whose report is known or being asked for
        self.counted_at = float("-inf")  # when it was last asked for all of its counters
        self.is_greeted = False  # whether the store knows that it spoke

    def __repr__(self) -> str:
        return f"Sender({self.id}, sequence={self.sequence})"


class Keys(Protocol):
    async def __call__(self, amphorae: Sequence[UUID]) -> Mapping[UUID, tuple[bytes, int]]:
        """Key and last recorded sequence of those that exist. Raises Unavailable."""

    async def names(self) -> Sequence[UUID]:
        """All that exist. Raises Unavailable."""


class Senders:
    """All known senders, and those that are being looked up."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self.known: dict[
            bytes, Sender
        ] = {}  # by the 16 bytes of the name on the wire, which need no decoding
        self.is_complete = False  # whether the keys of all amphorae have been read since the start
        self._keys = keys
        self._clock = clock
        self._waiting: dict[bytes, bytes] = {}
        self._strangers: dict[bytes, float] = {}
        self._asked = asyncio.Event()

    def key_of(self, name: bytes) -> bytes:
        """For `protocol.datagram.open_datagram`. Raises Unknown."""
        sender = self.known.get(name)
        if sender is None:
            raise Unknown(name)
        return sender.key

    def hold(self, name: bytes, datagram: bytes) -> bool:
        """Keep it until the sender is known. False: a stranger, or too many wait already."""
        until = self._strangers.get(name)
        if until is not None and self._clock.monotonic() < until:
            return False
        if len(self._waiting) >= WAITING_MAX and name not in self._waiting:
            return False
        self._waiting[name] = datagram
        self._asked.set()
        return True

    async def look_up(self, accept: Callable[[bytes], None]) -> None:
        """For ever: ask for those that wait, and give `accept` what they had sent."""
        while True:
            await self._asked.wait()
            names = list(self._waiting)[:LOOKUP_MAX]
            try:
                await self._learn(names)
            except Unavailable:
                await self._clock.sleep(RETRY_S)
                continue
            held = [self._waiting.pop(name) for name in names]
            if not self._waiting:
                self._asked.clear()
            met_strangers = False
            for name, datagram in zip(names, held, strict=True):
                if name in self.known:
                    accept(datagram)
                else:
                    met_strangers = True
                    self._remember_stranger(name)
            if met_strangers:
                await self._clock.sleep(STRANGERS_PAUSE_S)

    async def keep(self) -> None:
        """For ever: keep the keys of all amphorae, and no others."""
        while True:
            try:
                await self.learn_all()
            except Unavailable:
                await self._clock.sleep(RETRY_S)
                continue
            await self._clock.sleep(KEEP_S)

    async def learn_all(self) -> None:
        """Raises Unavailable."""
        before = list(self.known)
        names = {amphora.bytes for amphora in await self._keys.names()}
        for name in before:  # a key learnt meanwhile may be newer than this reading
            if name not in names:
                del self.known[name]
        missing = [name for name in names if name not in self.known]
        for start in range(0, len(missing), LOOKUP_MAX):
            await self._learn(missing[start : start + LOOKUP_MAX])
        self.is_complete = True

    async def _learn(self, names: Sequence[bytes]) -> None:
        found = await self._keys([UUID(bytes=name) for name in names])
        for amphora, (key, sequence) in found.items():
            sender = Sender(AmphoraId(str(amphora)), key, sequence)
            self.known.setdefault(amphora.bytes, sender)

    def _remember_stranger(self, name: bytes) -> None:
        self._strangers.pop(name, None)
        self._strangers[name] = self._clock.monotonic() + STRANGER_S
        while len(self._strangers) > STRANGERS_MAX:
            del self._strangers[next(iter(self._strangers))]

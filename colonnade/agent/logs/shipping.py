# SPDX-License-Identifier: Apache-2.0
"""From the spool to the targets: ask the controller for places, have the files sent, forget them.

Invariant: a file leaves the spool when its target has said yes, or when its listener logs no
more. A listener whose target fails waits ever longer, up to a minute, and holds up no other. The
bytes leave by a short-lived process without rights in the traffic namespace, because targets are
where users say, and answer what they like. Knows no kind of target.
"""

import asyncio
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from colonnade.agent.controllers import NobodyAnswers
from colonnade.agent.haproxy.process import run
from colonnade.agent.logs.collector import Collector, widen_queue
from colonnade.agent.logs.consignment import Consignment
from colonnade.agent.logs.spool import File, Spool, pack
from colonnade.protocol.logs import (
    COUNTS_MAX,
    FAILURE_MAX,
    FILES_MAX,
    LogCount,
    LogPlace,
    LogPlaces,
    LogQuestion,
)

log = logging.getLogger(__name__)
LOOK_S: Final = 1.0
SHIP_S_MAX: Final = 60.0
BACKOFF_S: Final = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
PUT: Final = "PUT"
NOWHERE: Final = "NOWHERE"
NO_PLACE: Final = LogPlace(failure="the controller gave no place")
UNSENT: Final = "the amphora could not send"
_POWERLESS: Final = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")

Ask = Callable[[LogQuestion], Awaitable[LogPlaces]]


class Logs:
    """All that an amphora does with access logs."""

    def __init__(self, socket: Path, spool: Spool, ask: Ask, namespace: Path | None) -> None:
        self._socket = socket
        self._spool = spool
        self._ask = ask
        self._enter = ("nsenter", f"--net={namespace}") if namespace is not None else ()
        self._failures: dict[str, int] = {}  # in a row, by listener
        self._due: dict[str, float] = {}  # when a listener that failed is tried again
        self._patient: set[str] = set()  # listeners whose target takes files, as far as known
        self._told: tuple[LogCount, ...] = ()
        self._ask_at = 0.0  # nobody is asked before
        self._unanswered = 0

    async def run(self) -> None:
        """Until cancelled. Traffic never waits for anything here."""
        widen_queue()
        collector = Collector(self._socket, self._spool)
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                await self.round()
        finally:
            collector.close()
            self._spool.close()

    async def round(self) -> None:
        """Close what is old, pack what is closed, ship what is due."""
        self._spool.rotate(self._patient)
        for file in self._spool.unpacked():
            self._spool.packed(file, await asyncio.to_thread(pack, self._spool.path(file)))
        now = time.monotonic()
        if now < self._ask_at:
            return
        due = [f for f in self._spool.ready() if self._due.get(f.listener, 0) <= now][:FILES_MAX]
        if due or self._spool.counts != self._told:
            await self._ship(due)
            self._spool.save()

    async def _ship(self, files: list[File]) -> None:
        counts = self._spool.counts
        told = tuple(file.told() for file in files)
        try:
            answer = await self._ask(LogQuestion(files=told, counts=counts[-COUNTS_MAX:]))
        except (NobodyAnswers, msgspec.MsgspecError) as error:
            log.info("no places for logs: %s", error)
            self._ask_at = time.monotonic() + _pause_s(self._unanswered)
            self._unanswered += 1
            return
        self._told, self._unanswered = counts, 0
        going = []
        without = {}
        for number, file in enumerate(files):
            place = answer.places[number] if number < len(answer.places) else NO_PLACE
            if place.failure:
                without[file.listener] = place.failure
            elif place.means == NOWHERE:
                self._spool.drop(file)
            else:
                going.append((file, place))
                self._learn(file.listener, place)
        for listener, failure in without.items():
            self._failed(listener, failure)
        if going:
            self._record(going, await self._send(going))

    def _learn(self, listener: str, place: LogPlace) -> None:
        if place.means == PUT:
            self._patient.add(listener)
        else:
            self._patient.discard(listener)

    async def _send(self, going: list[tuple[File, LogPlace]]) -> list[str]:
        """What became of each: "" or the reason why it must be sent again."""
        load = [
            Consignment(path=str(self._spool.path(f)), listener=f.listener, place=p)
            for f, p in going
        ]
        code, output = await run(
            *self._enter,
            *_POWERLESS,
            sys.executable,
            "-I",
            "-m",
            "colonnade.agent.logs.shipment",
            given=msgspec.json.encode(load),
            within_s=SHIP_S_MAX,
        )
        try:
            results = msgspec.json.decode(output.encode(), type=list[str])
        except msgspec.MsgspecError:
            log.warning("logs could not be sent (%d): %s", code, output[-FAILURE_MAX:])
            results = []
        return results + [UNSENT] * (len(going) - len(results))

    def _record(self, going: list[tuple[File, LogPlace]], results: list[str]) -> None:
        failed: dict[str, str] = {}
        for (file, _), reason in zip(going, results, strict=False):
            if reason:
                failed.setdefault(file.listener, reason)
            else:
                self._spool.sent(file)
        for listener in {file.listener for file, _ in going}:
            if listener in failed:
                self._failed(listener, failed[listener][:FAILURE_MAX])
            else:
                self._failures.pop(listener, None)
                self._due.pop(listener, None)
                self._spool.failed(listener, "")

    def _failed(self, listener: str, reason: str) -> None:
        tries = self._failures.get(listener, 0)
        self._failures[listener] = tries + 1
        self._due[listener] = time.monotonic() + _pause_s(tries)
        self._spool.failed(listener, reason)
        if tries == 0:
            log.warning("logs of listener %s wait: %s", listener, reason)


def _pause_s(tries: int) -> float:
    return BACKOFF_S[min(tries, len(BACKOFF_S) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311

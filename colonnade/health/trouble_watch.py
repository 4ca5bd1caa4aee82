# SPDX-License-Identifier: Apache-2.0
"""Replace amphorae that are heard and do not serve as they should, for long enough.

An amphora is asked once more before it is given up. It is left alone when the trouble has passed,
or when it does not answer. An amphora that lies about its own state is replaced itself, and no
faster than the rates allow; it harms no other. Any number of receivers may look at once.
"""

import asyncio
from typing import Final

import structlog

from colonnade.domain.errors import ColonnadeError, Contended, Unavailable, Unreachable
from colonnade.health.intake import Agents
from colonnade.runtime.clock import Clock
from colonnade.store.fleet import failovers, troubles
from colonnade.store.fleet.failovers import Judgement, Rules
from colonnade.store.fleet.safe_mode import Cause
from colonnade.store.fleet.troubles import Due
from colonnade.store.postgres.database import Database

log = structlog.get_logger()
LOOK_S: Final = 5.0
ASKED_S_MAX: Final = 5.0


class Troubles:
    def __init__(
        self,
        database: Database,
        agents: Agents,
        clock: Clock,
        rules: Rules,
    ) -> None:
        self._database = database
        self._agents = agents
        self._clock = clock
        self._rules = rules

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(LOOK_S)
            try:
                await self.look()
            except (Unavailable, Contended) as error:
                log.info("troubles not looked at", reason=str(error))

    async def look(self) -> Judgement:
        """One look. Raises Unavailable."""
        async with self._database.read() as connection:
            due = await troubles.due(connection, self._rules.failovers)
        still = await asyncio.gather(*(self._is_so(one) for one in due))
        lost = {one.amphora.id: one for one, so in zip(due, still, strict=True) if so}
        if not lost:
            return Judgement()
        async with self._database.transaction() as connection:
            causes = {name: (one.cause, one.words) for name, one in lost.items()}
            found = await failovers.fail(connection, causes, self._rules)
        failovers.tell(found)
        return found

    async def _is_so(self, due: Due) -> bool:
        """Whether it is still in that trouble, asked of itself."""
        amphora = due.amphora
        assert amphora.lb_network_ip is not None, "a serving amphora has an address"
        try:
            async with asyncio.timeout(ASKED_S_MAX):
                report = await self._agents.status(amphora.lb_network_ip, amphora.id)
        except (Unreachable, TimeoutError):
            # It does not answer; nothing is known of its own troubles then.
            return due.cause is Cause.APPLIES_NOTHING
        except ColonnadeError as error:
            log.warning("trouble not understood", amphora=amphora.id, reason=str(error))
            return False
        told = [(trouble.kind, trouble.text) for trouble in report.troubles]
        async with self._database.transaction() as connection:
            await troubles.record(connection, amphora.id, told)
        if due.cause is Cause.APPLIES_NOTHING:
            return report.generation < due.wanted
        return due.cause.name.lower() in {trouble.kind for trouble in report.troubles}

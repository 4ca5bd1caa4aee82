# SPDX-License-Identifier: Apache-2.0
"""Move an upgrade on: see how its steps are, and begin what may begin.

One pass is one transaction that holds the upgrade's row, so it is taken whole or not at all, and it
does not matter which controller takes it. What a step begins is that an amphora is asked to leave;
the replacing itself is done by whoever works on its cluster (`clusters.py`).
"""

from collections.abc import Mapping
from typing import Final

from colonnade.controller import account
from colonnade.controller.spares import SPARE_FRESH_S
from colonnade.domain.catalogue import DEFAULT_FLAVOR
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.lifecycle import Event
from colonnade.domain.upgrading import (
    BEGUN,
    ENDED,
    Look,
    Move,
    State,
    StepState,
    Upgrade,
    decide,
    progress,
)
from colonnade.store.catalogue import catalogue
from colonnade.store.fleet import amphora_rows, safe_mode_rows, upgrade_rows
from colonnade.store.postgres.database import Connection, Database

LOOK_S: Final = 1.0


class Upgrades:
    """The reconciler of `upgrade:<id>`. `spares`: how many of the default flavor are kept."""

    def __init__(self, database: Database, spares: int) -> None:
        self._database = database
        self._spares = spares

    async def reconcile(self, name: str) -> float | None:
        async with self._database.transaction() as connection:
            upgrade = await upgrade_rows.locked(connection, name)
            if upgrade is None:
                return None
            look = await self._look(connection, upgrade)
            decision = decide(upgrade, look)
            account.planned(*(f"{one.state.value.lower()}" for one in decision.moves))
            for move in decision.moves:
                await self._take(connection, upgrade, move)
            if decision.turn is not None:
                await upgrade_rows.turn(connection, upgrade, *decision.turn)
            elif upgrade.state is State.RUNNING:
                await upgrade_rows.say(connection, upgrade, decision.waits)
        state = decision.turn[0] if decision.turn is not None else upgrade.state
        is_followed = any(step.state in BEGUN for step, _ in look.steps)
        return LOOK_S if state is State.RUNNING or is_followed else None

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Nothing to tell an owner: the loop has logged it."""

    async def _look(self, connection: Connection, upgrade: Upgrade) -> Look:
        far = await upgrade_rows.progress(connection, upgrade)
        mode = await safe_mode_rows.read(connection)
        account.looked(f"upgrade {upgrade.state.value.lower()}", progress(far.counts))
        return Look(
            now=mode.now,
            steps=await upgrade_rows.look(connection, upgrade.id),
            left=sum(count for state, count in far.counts.items() if state not in ENDED),
            is_proven=far.counts.get(StepState.DONE, 0) > 0,
            moved_at=far.moved_at,
            begun_at=far.begun_at,
            safe_mode=mode.reason if mode.since is not None else "",
            spares=await self._ready(connection),
        )

    async def _ready(self, connection: Connection) -> Mapping[str, int]:
        kept = {DEFAULT_FLAVOR: self._spares, **await catalogue.spare_targets(connection)}
        ready = await upgrade_rows.fresh_spares(connection, SPARE_FRESH_S)
        return {flavor: ready.get(flavor, 0) for flavor, target in kept.items() if target > 0}

    async def _take(self, connection: Connection, upgrade: Upgrade, move: Move) -> None:
        """Raises Contended when the amphora is no longer as it was seen."""
        if move.state is StepState.REPLACING:
            amphora = await amphora_rows.amphora(connection, move.step.amphora_id)
            assert amphora is not None, "what serves is there"
            why = move.step.why or "an upgrade"
            await amphora_rows.advance(connection, amphora, Event.ASKED_TO_LEAVE, why)
        await upgrade_rows.move(connection, upgrade, move)

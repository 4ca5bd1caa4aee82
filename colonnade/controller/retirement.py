# SPDX-License-Identifier: Apache-2.0
"""Find what is outdated, say so, and have it replaced slowly.

What is outdated is decided in `domain/outdated.py` and written down here, for all amphorae. Those
that serve are then replaced by an upgrade like one that a person begins (`upgrades.py`), one at a
time; spares by `spares.py`. Nothing is replaced that is not outdated.
"""

from datetime import timedelta
from typing import Final

import structlog

import colonnade
from colonnade.controller import account
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.ids import AmphoraId
from colonnade.domain.lifecycle import State
from colonnade.domain.outdated import Finding, Wanted, examine
from colonnade.domain.upgrading import Pace
from colonnade.runtime.config import Retirement as Settings
from colonnade.store.catalogue import catalogue
from colonnade.store.fleet import outdated, safe_mode_rows, upgrade_rows
from colonnade.store.fleet.upgrade_rows import Chosen
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.queue import work

LOOK_S: Final = 60.0
AT_ONCE_MAX: Final = 100  # in one upgrade: those that become outdated meanwhile are not far behind

log = structlog.get_logger()


class Retirement:
    """The reconciler of `retirement:all`. `days`: the life of an amphora's certificate."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        days: float,
        *,
        release: str = colonnade.__version__,
    ) -> None:
        self._database = database
        self._settings = settings
        self._life = timedelta(days=days)
        self._release = release

    async def reconcile(self, _name: str) -> float | None:
        async with self._database.transaction() as connection:
            await self._mark(connection)
        async with self._database.transaction() as connection:
            if self._settings.automatic:
                await self._begin(connection)
        return LOOK_S

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Nothing to tell an owner: the loop has logged it."""

    async def _mark(self, connection: Connection) -> None:
        wanted = await catalogue.all_wanted(connection, self._release)
        unknown = Wanted(release=self._release)
        now, living = await outdated.living(connection)
        found: dict[AmphoraId, Finding] = {
            one.id: examine(one, wanted.get(one.flavor, unknown), now, self._life) for one in living
        }
        number = sum(bool(one.words) for one in found.values())
        account.looked("no outdated amphora", f"{number} of {len(living)} so")
        news = set(await outdated.mark(connection, found))
        for flavor in {a.flavor for a in living if a.id in news and a.state is State.SPARE}:
            await work.mark(connection, f"spares:{flavor}")
        if news:
            log.info("outdated", amphorae=number, news=len(news))

    async def _begin(self, connection: Connection) -> None:
        if (
            await upgrade_rows.open_now(connection) is not None
            or (await safe_mode_rows.read(connection)).since is not None
            or await upgrade_rows.failed_lately(connection, self._settings.again_s)
        ):
            return
        due = Chosen(only_due_s=self._settings.grace_s, most=AT_ONCE_MAX)
        subjects = await upgrade_rows.candidates(connection, due)
        if subjects:
            account.planned(f"{len(subjects)} replacements")
            pace = Pace(at_once=1, pause_s=self._settings.pause_s)
            await upgrade_rows.begin(connection, subjects, pace, is_automatic=True)

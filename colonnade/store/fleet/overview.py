# SPDX-License-Identifier: Apache-2.0
"""The fleet at a glance, for operators: safe mode, who is silent or outdated, what was replaced,
who runs.

Reads only; nothing is decided by it. What is wrong is said in sentences, here and nowhere else, so
that every place that shows it says the same.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from colonnade.domain.upgrading import State, Upgrade, progress
from colonnade.store.fleet import (
    daemons,
    failovers,
    outdated,
    safe_mode_rows,
    troubles,
    upgrade_rows,
)
from colonnade.store.fleet.daemons import Kind, Seen
from colonnade.store.fleet.failovers import Rules
from colonnade.store.fleet.safe_mode import Suspect
from colonnade.store.fleet.safe_mode_rows import Mode
from colonnade.store.postgres.database import Connection

SHOWN_MAX: Final = 100
HOUR_S: Final = 3600.0
NEEDED: Final = (Kind.CONTROLLER, Kind.HEALTH)


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    mode: Mode
    states: Mapping[str, int]  # how many amphorae are in each
    overdue: Sequence[Suspect]  # of those in use, the longest silent first
    troubled: Sequence[troubles.Shown]  # of those that are heard
    outdated: Sequence[outdated.Shown]
    upgrade: tuple[Upgrade, str] | None  # the one that is open, and its progress
    replaced: Mapping[str, int]  # within an hour, by cause
    daemons: Sequence[Seen]

    @property
    def problems(self) -> list[str]:
        """What a person should know of. Empty: all is well."""
        found = []
        if self.mode.since is not None:
            found.append(
                f"safe mode since {self.mode.since:%Y-%m-%d %H:%M:%S}: {self.mode.reason};"
                f" {self.mode.held} amphorae are not replaced for now"
            )
        found += [
            f"the {one.kind} process at {one.address} has not been seen since"
            f" {one.missed_since:%Y-%m-%d %H:%M:%S}"
            for one in self.daemons
            if one.missed_since is not None
        ]
        if self.upgrade is not None and self.upgrade[0].state is State.STOPPED:
            found.append(
                f"upgrade {self.upgrade[0].id} has stopped: {self.upgrade[0].words};"
                " resume or undo it"
            )
        return [*found, *(f"no {kind} process runs" for kind in self.absent)]

    @property
    def absent(self) -> list[Kind]:
        """Those that must run and do not, or have only just begun."""
        running = {one.kind for one in self.daemons if one.missed_since is None}
        return [kind for kind in NEEDED if kind not in running]


async def overview(connection: Connection, rules: Rules) -> Overview:
    cursor = await connection.execute("SELECT state, count(*) FROM amphorae GROUP BY state")
    states = {state: count for state, count in await cursor.fetchall()}
    cursor = await connection.execute(
        """SELECT cause, count(*) FROM failovers WHERE at > now() - make_interval(secs => %s)
        GROUP BY cause""",
        [HOUR_S],
    )
    replaced = {cause: count for cause, count in await cursor.fetchall()}
    present = await upgrade_rows.open_now(connection)
    far = await upgrade_rows.progress(connection, present) if present is not None else None
    return Overview(
        mode=await safe_mode_rows.read(connection),
        states=states,
        overdue=await failovers.overdue(connection, rules, SHOWN_MAX),
        troubled=await troubles.everyone(connection, SHOWN_MAX),
        outdated=await outdated.everyone(connection, SHOWN_MAX),
        upgrade=(present, progress(far.counts)) if present and far else None,
        replaced=replaced,
        daemons=await daemons.everyone(connection),
    )

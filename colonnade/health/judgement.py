# SPDX-License-Identifier: Apache-2.0
"""Record that this receiver listened, have silent amphorae judged, and tell the outcome to the log
and to metrics.

`liveness.py` and `coverage.py` say which silences count, `store/fleet/safe_mode.py` says which
silent amphorae may be replaced. This module decides nothing itself.
"""

from typing import Final

import msgspec
import structlog
from prometheus_client import Gauge

from colonnade.domain.errors import Contended, Unavailable
from colonnade.health.coverage import coverage
from colonnade.store.fleet import failovers, receivers
from colonnade.store.fleet.safe_mode import Windows
from colonnade.store.postgres.database import Database

log = structlog.get_logger()

SAFE_MODE: Final = Gauge("colonnade_safe_mode", "1 while failovers come at a trickle only")
HELD: Final = Gauge("colonnade_held_failovers", "Amphorae that are not replaced for now")


async def judge(
    database: Database, told: receivers.Told, windows: Windows, rules: failovers.Rules
) -> bool:
    """False: the database does not answer, and the receiver must begin a new watch."""
    try:
        async with database.transaction() as connection:
            await receivers.record(connection, told)
            if not windows.judges:
                return True
            covered = coverage(await receivers.everyone(connection), rules.heartbeats)
            windows = msgspec.structs.replace(windows, coverage=covered)
            found = await failovers.mark_silent(connection, windows, rules.failovers)
    except Contended:
        return True
    except Unavailable as error:
        log.warning("silence not judged", reason=str(error))
        return False
    SAFE_MODE.set(found.is_on)
    HELD.set(found.held)
    failovers.tell(found)
    return True

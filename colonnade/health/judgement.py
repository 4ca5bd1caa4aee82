# SPDX-License-Identifier: Apache-2.0
"""Have the silent ones judged, and say what came of it: to the log and to metrics.

Which silences count is said in `liveness.py`, who of the silent ones may be replaced in
`store/fleet/safe_mode.py`. Decides nothing itself.
"""

from typing import Final

import structlog
from prometheus_client import Gauge

from colonnade.domain.errors import Contended, Unavailable
from colonnade.runtime.config import Failovers
from colonnade.store.fleet import failovers
from colonnade.store.fleet.safe_mode import Windows
from colonnade.store.postgres.database import Database

log = structlog.get_logger()

SAFE_MODE: Final = Gauge("colonnade_safe_mode", "1 while failovers come at a trickle only")
HELD: Final = Gauge("colonnade_held_failovers", "Amphorae that are not replaced for now")


async def judge(database: Database, windows: Windows, limits: Failovers) -> bool:
    """False: the database is away, and whoever listens begins anew."""
    try:
        async with database.transaction() as connection:
            found = await failovers.mark_silent(connection, windows, limits)
    except Contended:
        return True
    except Unavailable as error:
        log.warning("silence not judged", reason=str(error))
        return False
    SAFE_MODE.set(found.is_on)
    HELD.set(found.held)
    failovers.tell(found)
    return True

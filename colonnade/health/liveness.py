# SPDX-License-Identifier: Apache-2.0
"""Which silences count: those of which a receiver listened all the time.

A watch is an unbroken time in which this receiver ran and the database took what it heard. Each
kind of amphora is judged only when the watch is at least as long as the silence it is allowed. A
database outage, or a pause of this very process, begins a new watch. Pure; the loop that acts on
it is in `process.py`.
"""

from typing import Final

import msgspec

from colonnade.runtime.config import Heartbeats
from colonnade.store.fleet.safe_mode import Windows

LATE_S: Final = 2.0  # the longest pause between two looks of a process that listens
NEVER_S: Final = 10 * 365 * 86_400.0


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Times are of a monotonic clock. `since` None: nothing has been seen to work yet."""

    since: float | None = None
    looked_at: float | None = None


def look(watch: Watch, now: float, *, is_well: bool) -> Watch:
    """The watch after one look at whether all works."""
    if not is_well:
        return Watch(looked_at=now)
    on_time = watch.looked_at is not None and now - watch.looked_at <= LATE_S
    since = watch.since if on_time and watch.since is not None else now
    return Watch(since=since, looked_at=now)


def windows(watch: Watch, now: float, allowed: Heartbeats) -> Windows:
    """The silences that count now. Where none counts yet, the allowed silence is endless."""
    watched_s = 0.0 if watch.since is None else now - watch.since

    def judged(allowed_s: float) -> float:
        return allowed_s if watched_s >= allowed_s else NEVER_S

    return Windows(
        stale_s=judged(allowed.stale_s),
        spare_stale_s=judged(allowed.spare_stale_s),
        boot_s=judged(allowed.boot_s),
        beat_s=allowed.interval_s,
        spare_beat_s=allowed.spare_interval_s,
        watched_s=watched_s,
    )

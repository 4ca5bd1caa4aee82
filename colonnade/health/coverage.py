# SPDX-License-Identifier: Apache-2.0
"""Which silences count when several receivers listen, each to a part. Pure.

An amphora sends its heartbeats to n receivers in turn, and says how many they are. Where only k
of them listen, k of n heartbeats are heard. The amphora may then be silent n/k times as long, so
that the number of missed heartbeats that counts stays the same.

A receiver is one of the k while three things hold: its writes are fresh, amphorae have had time to
learn its address, and it is not cut off (it heard nobody while others heard somebody). Silence is
measured from the beginning of the youngest of the k watches to the latest moment by which all k
had written what they heard.
"""

from collections.abc import Sequence
from typing import Final

from colonnade.protocol.datagram import RECEIVERS_MAX
from colonnade.runtime.config import Heartbeats
from colonnade.store.fleet.receivers import Receiver
from colonnade.store.fleet.safe_mode import Coverage

FRESH_S: Final = 2.5  # each writes once a second
LEARNT_S: Final = 90.0  # amphorae ask once a minute whom to send to
DEAF_SHARE: Final = 0.6  # of the silence that is allowed
NOBODY: Final = Coverage(stretch=1.0, watched_s=0.0)  # no silence counts


def coverage(receivers: Sequence[Receiver], allowed: Heartbeats) -> list[Coverage]:
    """One for each number of receivers that an amphora speaks to in turn: 0 (it did not say), 1, 2
    ..."""
    watches = sorted(_counted(receivers, allowed), key=lambda r: r.watched_s, reverse=True)
    told = [_of(number, watches, allowed.stale_s) for number in range(1, RECEIVERS_MAX + 1)]
    unsaid = min(max(len(receivers), 1), RECEIVERS_MAX)
    return [told[unsaid - 1], *told]


def _of(number: int, watches: Sequence[Receiver], stale_s: float) -> Coverage:
    """The most receivers that have watched for as long as the silence that is then allowed."""
    for count in range(min(number, len(watches)), 0, -1):
        stretch = number / count
        watched_s = watches[count - 1].watched_s
        if watched_s >= stretch * stale_s:
            late_s = max(receiver.written_s for receiver in watches[:count])
            return Coverage(stretch=stretch, watched_s=watched_s, late_s=late_s)
    return NOBODY


def _counted(receivers: Sequence[Receiver], allowed: Heartbeats) -> list[Receiver]:
    fresh = [r for r in receivers if r.written_s <= FRESH_S]
    # A receiver that is cut off is left out before the silence that it causes is long enough to
    # count.
    latest_s = min((r.heard_s for r in fresh), default=0.0) + DEAF_SHARE * allowed.stale_s
    return [r for r in fresh if r.listed_s >= LEARNT_S and r.heard_s <= latest_s]

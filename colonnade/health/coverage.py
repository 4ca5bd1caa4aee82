# SPDX-License-Identifier: Apache-2.0
"""Which silences count when several receivers listen, each to a part. Pure.

An amphora sends its heartbeats to n receivers in turn, and says how many they are. Where only k
of them listen, it is heard k times out of n: so it may be silent n/k times as long, and as many
heartbeats must be missed as ever. A receiver counts while its writes are fresh, from when
amphorae could learn of it, and unless it is cut off: it has heard nobody while others did. Silence
counts from the beginning of the youngest of the k watches, and until the latest moment by which
all of the k had written what they heard.
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
    """For amphorae that speak to 0 (they did not say), 1, 2 ... receivers in turn."""
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
    # Found out before anybody whom it alone would have heard has been silent for too long.
    latest_s = min((r.heard_s for r in fresh), default=0.0) + DEAF_SHARE * allowed.stale_s
    return [r for r in fresh if r.listed_s >= LEARNT_S and r.heard_s <= latest_s]

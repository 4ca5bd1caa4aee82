# SPDX-License-Identifier: Apache-2.0
"""Nobody is called silent by one who was not listening."""

from hypothesis import given
from hypothesis import strategies as st

from colonnade.health.liveness import LATE_S, NEVER_S, Watch, look, windows
from colonnade.runtime.config import Heartbeats

ALLOWED = Heartbeats()
looks = st.lists(st.tuples(st.floats(0.01, 5.0), st.booleans()), max_size=60)


def watched(steps: list[tuple[float, bool]]) -> tuple[Watch, float, float]:
    """The watch after these looks, the time, and for how long all has been well without a gap."""
    watch, now, well_since = Watch(), 0.0, None
    for pause_s, is_well in steps:
        now += pause_s
        watch = look(watch, now, is_well=is_well)
        if not is_well:
            well_since = None
        elif well_since is None or pause_s > LATE_S:
            well_since = now
    return watch, now, 0.0 if well_since is None else now - well_since


@given(looks)
def test_only_an_unbroken_watch_as_long_as_the_silence_judges(
    steps: list[tuple[float, bool]],
) -> None:
    watch, now, unbroken_s = watched(steps)
    found = windows(watch, now, ALLOWED)
    pairs = (
        (found.stale_s, ALLOWED.stale_s),
        (found.spare_stale_s, ALLOWED.spare_stale_s),
        (found.boot_s, ALLOWED.boot_s),
    )
    for judged_s, allowed_s in pairs:
        assert judged_s == (allowed_s if unbroken_s >= allowed_s else NEVER_S)
    assert found.judges == (unbroken_s >= ALLOWED.stale_s)


def test_an_outage_begins_a_new_watch() -> None:
    steps = [(0.5, True)] * 10
    watch, now, _ = watched(steps)
    assert windows(watch, now, ALLOWED).judges
    watch, now, _ = watched([*steps, (0.5, False)])
    assert not windows(watch, now, ALLOWED).judges
    watch, now, _ = watched([*steps, (0.5, False), *[(0.5, True)] * 7])
    assert not windows(watch, now, ALLOWED).judges
    watch, now, _ = watched([*steps, (0.5, False), *[(0.5, True)] * 8])
    assert windows(watch, now, ALLOWED).judges


def test_a_process_that_was_stopped_did_not_listen() -> None:
    steps = [(0.5, True)] * 10
    watch, now, _ = watched([*steps, (LATE_S + 0.1, True)])
    assert not windows(watch, now, ALLOWED).judges

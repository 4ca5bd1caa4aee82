# SPDX-License-Identifier: Apache-2.0
"""How long an amphora may be silent when several receivers listen, and some do not."""

from math import isclose

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.health.coverage import FRESH_S, LEARNT_S, NOBODY, coverage
from colonnade.protocol.datagram import RECEIVERS_MAX
from colonnade.runtime.config import Heartbeats
from colonnade.store.fleet.receivers import Receiver

ALLOWED = Heartbeats()
WELL = Receiver(address="a:1", written_s=0.5, watched_s=600.0, heard_s=0.5, listed_s=600.0)
GONE = replace(WELL, written_s=40.0)
ages = st.floats(0.0, 1000.0)
receivers = st.builds(
    Receiver,
    address=st.just("a:1"),
    written_s=st.floats(0.0, 5.0),
    watched_s=ages,
    heard_s=ages,
    listed_s=ages,
)


def silence_of(number: int, *found: Receiver) -> float | None:
    """What an amphora that speaks to so many may be silent when it serves; None: for ever."""
    one = coverage(found, ALLOWED)[number]
    return None if one == NOBODY else one.stretch * ALLOWED.stale_s


def test_who_speaks_to_one_that_listens_is_missed_after_what_is_allowed() -> None:
    assert silence_of(1, WELL) == ALLOWED.stale_s
    assert silence_of(2, WELL, WELL) == ALLOWED.stale_s


def test_half_of_the_receivers_hear_half_of_the_heartbeats() -> None:
    assert silence_of(2, WELL, GONE) == 2 * ALLOWED.stale_s
    assert silence_of(4, WELL, GONE, GONE, GONE) == 4 * ALLOWED.stale_s
    assert silence_of(4, WELL, WELL, GONE, GONE) == 2 * ALLOWED.stale_s


def test_more_receivers_than_it_speaks_to_hear_no_more_of_it() -> None:
    assert silence_of(1, WELL, WELL, WELL) == ALLOWED.stale_s


def test_one_that_did_not_say_may_speak_to_all_that_were_there() -> None:
    assert silence_of(0, WELL, GONE) == 2 * ALLOWED.stale_s
    assert silence_of(0, WELL) == ALLOWED.stale_s


def test_a_receiver_that_has_just_begun_counts_when_its_watch_is_long_enough() -> None:
    young = replace(WELL, watched_s=2.0)
    assert silence_of(2, WELL, young) == 2 * ALLOWED.stale_s
    assert silence_of(2, WELL, replace(young, watched_s=3.6)) == ALLOWED.stale_s
    assert silence_of(1, young) is None


def test_a_receiver_that_amphorae_cannot_know_yet_does_not_count() -> None:
    unknown = replace(WELL, listed_s=LEARNT_S - 1)
    assert silence_of(2, WELL, unknown) == 2 * ALLOWED.stale_s
    assert silence_of(1, unknown) is None


def test_one_that_hears_nobody_counts_only_when_none_hears_anybody() -> None:
    deaf = replace(WELL, heard_s=30.0)
    assert silence_of(2, WELL, deaf) == 2 * ALLOWED.stale_s
    assert silence_of(2, deaf, deaf) == ALLOWED.stale_s
    assert silence_of(1, deaf) == ALLOWED.stale_s


def test_silence_counts_until_all_have_written() -> None:
    late = replace(WELL, written_s=FRESH_S)
    assert coverage([WELL, late], ALLOWED)[2].late_s == FRESH_S
    assert coverage([WELL], ALLOWED)[1].late_s == WELL.written_s


@given(st.lists(receivers, max_size=5))
def test_nobody_is_missed_sooner_than_allowed_nor_outside_of_a_watch(
    found: list[Receiver],
) -> None:
    told = coverage(found, ALLOWED)
    assert len(told) == RECEIVERS_MAX + 1
    for number, one in enumerate(told[1:], 1):
        if one == NOBODY:
            continue
        count = round(number / one.stretch)
        assert isclose(one.stretch, number / count)
        assert one.watched_s >= one.stretch * ALLOWED.stale_s >= ALLOWED.stale_s
        listening = [r for r in found if r.written_s <= FRESH_S and r.watched_s >= one.watched_s]
        assert len(listening) >= count
        assert one.late_s <= FRESH_S

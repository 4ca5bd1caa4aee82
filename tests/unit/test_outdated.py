# SPDX-License-Identifier: Apache-2.0
"""Which amphorae are outdated, and what another in their place would mend."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from colonnade.controller.spares import plan
from colonnade.domain.catalogue import FlavorFacts
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId
from colonnade.domain.lifecycle import State
from colonnade.domain.outdated import Finding, Wanted, difference, examine

NOW = datetime(2026, 1, 31, tzinfo=UTC)
LIFE = timedelta(days=14)
WANTED = Wanted.of("1.4.0", FlavorFacts(amp_image_tag="new"))
GOOD = Amphora(
    id=AmphoraId("a"),
    state=State.SERVING,
    agent_version="1.4.0",
    born_by="1.4.0",
    image_tag="new",
    engine="haproxy",
    cert_expiration=NOW + timedelta(days=7),
)


def look(amphora: Amphora) -> Finding:
    return examine(amphora, WANTED, NOW, LIFE)


def test_one_that_is_as_it_would_be_made_now_is_not_outdated() -> None:
    assert look(GOOD) == Finding()
    assert difference(GOOD, WANTED) == ""


@pytest.mark.parametrize("version", ["1.4.0", "1.4.1", "1.5.0.dev1", "2.0.0", "1.4.0+local", None])
def test_an_agent_that_is_no_older_is_not_outdated(version: str | None) -> None:
    assert look(replace(GOOD, agent_version=version)) == Finding()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.3.9", "its agent is of release 1.3.9, and 1.4.0 is wanted"),
        ("0.9.11", "its agent is of release 0.9.11, and 1.4.0 is wanted"),
        ("", "its agent tells no release, and 1.4.0 is wanted"),
    ],
)
def test_an_older_agent_is(version: str, words: str) -> None:
    old = replace(GOOD, agent_version=version, born_by="1.3.9")
    assert look(old) == Finding(words, is_cured=True)
    assert look(replace(old, born_by="")) == Finding(words, is_cured=True)


def test_an_old_agent_that_this_release_booted_is_not_replaced_for_it() -> None:
    """The next would be no younger; and an amphora that lies is not replaced again and again."""
    found = look(replace(GOOD, agent_version="1.3.9"))
    assert found.words == (
        "its agent is of release 1.3.9, and 1.4.0 is wanted,"
        " which the machine that booted it does not have"
    )
    assert not found.is_cured


def test_another_image_or_engine_than_its_flavor_says_is_outdated() -> None:
    found = look(replace(GOOD, image_tag=None))
    assert found == Finding("it was made of image none, and its flavor says new", is_cured=True)
    found = look(replace(GOOD, engine="envoy"))
    assert found == Finding("its engine is envoy, and its flavor says haproxy", is_cured=True)


def test_what_is_not_known_of_its_making_or_its_flavor_is_no_cause() -> None:
    assert look(replace(GOOD, image_tag="old", engine="")) == Finding()
    assert examine(GOOD, Wanted.of("1.4.0", None), NOW, LIFE) == Finding()
    assert examine(replace(GOOD, cert_expiration=None), WANTED, NOW, LIFE) == Finding()


def test_a_certificate_is_late_when_three_quarters_of_its_life_are_over() -> None:
    found = look(replace(GOOD, cert_expiration=NOW + LIFE / 4))
    words = "its certificate ends at 2026-02-03 12:00 UTC and has not been renewed in place"
    assert found == Finding(words, is_cured=True)
    just = replace(GOOD, cert_expiration=NOW + LIFE / 4 + timedelta(seconds=1))
    assert look(just) == Finding()


def test_a_late_certificate_is_cured_whatever_the_agent() -> None:
    found = look(replace(GOOD, agent_version="1.3.9", cert_expiration=NOW))
    assert found.is_cured
    assert found.words.count(";") == 1


def test_going_back_is_a_difference_and_no_outdating() -> None:
    newer = replace(GOOD, agent_version="1.5.0")
    assert look(newer) == Finding()
    assert difference(newer, WANTED) == "its agent is of release 1.5.0, and 1.4.0 is wanted"
    assert difference(replace(GOOD, agent_version=None), WANTED) == ""


def ready(*marks: str) -> list[Amphora]:
    """By a letter each: s(pare), o(utdated spare), b(ooting)."""
    return [
        Amphora(
            id=AmphoraId(f"{place}{mark}"),
            state=State.BOOTING if mark == "b" else State.SPARE,
            outdated_since=NOW if mark == "o" else None,
        )
        for place, mark in enumerate(marks)
    ]


@pytest.mark.parametrize(
    ("target", "there", "added", "gone"),
    [
        (2, "", 2, []),
        (2, "ss", 0, []),
        (2, "sss", 0, ["2s"]),
        (2, "sbsb", 0, ["3b", "1b"]),
        (2, "os", 1, []),  # one more first
        (2, "oo", 1, []),
        (2, "oob", 0, []),  # until that is ready
        (2, "oos", 0, ["0o"]),
        (2, "osb", 0, []),
        (2, "ob", 0, []),  # one boots already
        (2, "o", 1, []),
        (2, "osss", 0, ["0o", "3s"]),
        (0, "o", 0, ["0o"]),
        (0, "", 0, []),
    ],
)
def test_outdated_spares_go_one_by_one_when_others_are_ready(
    target: int, there: str, added: int, gone: list[str]
) -> None:
    missing, surplus = plan(target, ready(*there))
    assert (missing, [one.id for one in surplus]) == (added, gone)

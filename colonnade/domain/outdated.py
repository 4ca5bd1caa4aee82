# SPDX-License-Identifier: Apache-2.0
"""Which amphorae are outdated, and why. Pure: what one is made of in, a sentence out.

An agent is outdated when it is older than the release that asks, never when it is newer: while two
releases run side by side, neither calls the other's amphorae outdated for being another's. One that
this release booted, and that is outdated all the same, is not replaced for it: the next would be
made of the same. A certificate is late when the renewal in place has failed for long.
"""

import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from colonnade.domain.catalogue import FlavorFacts
from colonnade.domain.fleet import Amphora

# Of a certificate's life. It is renewed at half, and asked for every minute from then on.
LATE: Final = 0.25
VERSION: Final = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})[0-9A-Za-z.+-]{0,32}")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an amphora of one flavor would be made of now."""

    release: str
    image_tag: str | None = None
    engine: str = ""  # "": not known
    compute_flavor: str | None = None  # a profile that is in use keeps it

    @classmethod
    def of(cls, release: str, facts: FlavorFacts | None) -> "Wanted":
        """None: a flavor whose words nobody here knows."""
        if facts is None:
            return cls(release=release)
        return cls(
            release=release,
            image_tag=facts.amp_image_tag,
            engine=facts.amphora_driver,
            compute_flavor=facts.compute_flavor,
        )


class Finding(msgspec.Struct, frozen=True):
    """`words`: why it is outdated, "" when it is not. `is_cured`: another in its place is not."""

    words: str = ""
    is_cured: bool = False


def examine(amphora: Amphora, wanted: Wanted, now: datetime, life: timedelta) -> Finding:
    """`life`: of a certificate."""
    stale = _agent(amphora, wanted)
    is_stuck = bool(stale) and not _is_older(amphora.born_by or "0.0.0", wanted.release)
    if is_stuck:
        stale += ", which the machine that booted it does not have"
    others = [*_make(amphora, wanted), *_certificate(amphora, now, life)]
    words = [word for word in (stale, *others) if word]
    return Finding("; ".join(words), is_cured=bool(others) or (bool(stale) and not is_stuck))


def difference(amphora: Amphora, wanted: Wanted) -> str:
    """How one made now would differ from this one, in either direction; "" when it would not."""
    version = amphora.agent_version
    agent = "" if version in (None, wanted.release) else _told(version, wanted)
    return "; ".join(word for word in (agent, *_make(amphora, wanted)) if word)


def _agent(amphora: Amphora, wanted: Wanted) -> str:
    version = amphora.agent_version
    if version is None or not _is_older(version or "0.0.0", wanted.release):
        return ""
    return _told(version, wanted)


def _told(version: str | None, wanted: Wanted) -> str:
    told = f"is of release {version}" if version else "tells no release"
    return f"its agent {told}, and {wanted.release} is wanted"


def _make(amphora: Amphora, wanted: Wanted) -> list[str]:
    if not amphora.engine or not wanted.engine:
        return []  # before that was noted, or of a flavor that nobody here understands
    found = []
    if amphora.image_tag != wanted.image_tag:
        made, wish = amphora.image_tag or "none", wanted.image_tag or "none"
        found.append(f"it was made of image {made}, and its flavor says {wish}")
    if amphora.engine != wanted.engine:
        found.append(f"its engine is {amphora.engine}, and its flavor says {wanted.engine}")
    return found


def _certificate(amphora: Amphora, now: datetime, life: timedelta) -> list[str]:
    ends = amphora.cert_expiration
    if ends is None or now < ends - life * LATE:
        return []
    return [f"its certificate ends at {ends:%Y-%m-%d %H:%M} UTC and has not been renewed in place"]


def _is_older(version: str, than: str) -> bool:
    """By the three numbers; what follows them says nothing, and what has none is not older."""
    one, other = VERSION.fullmatch(version), VERSION.fullmatch(than)
    if one is None or other is None:
        return False
    return [int(part) for part in one.groups()] < [int(part) for part in other.groups()]

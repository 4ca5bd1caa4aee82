# SPDX-License-Identifier: Apache-2.0
"""What was found out of tokens, kept for a while by their digests.

Good and bad ones are kept apart, so that strangers cannot push callers out of memory. Nothing here
asks anybody, and no token is kept.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from colonnade.api.identity.caller import Caller
from colonnade.runtime.clock import Clock

REMEMBERED_MAX: Final = 10_000


class Found(msgspec.Struct, frozen=True):
    """`caller` None: the token is none. `until`: then it is asked for again. `at_worst`: until then
    it may be believed where nobody can be asked. Both are of a clock that never goes back."""

    caller: Caller | None
    until: float
    at_worst: float = 0.0


class Memory:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._good: OrderedDict[bytes, Found] = OrderedDict()
        self._bad: OrderedDict[bytes, Found] = OrderedDict()

    def fresh(self, digest: bytes) -> Found | None:
        """What was found of it not long ago."""
        found = self._good.get(digest) or self._bad.get(digest)
        return found if found is not None and found.until > self._clock.monotonic() else None

    def at_worst(self, digest: bytes) -> Found | None:
        """What may be believed of it where nobody can be asked."""
        found = self._good.get(digest)
        return found if found is not None and found.at_worst > self._clock.monotonic() else None

    def knows(self, digest: bytes) -> bool:
        """Was it good when it was last asked for?"""
        return digest in self._good

    def keep(self, digest: bytes, found: Found) -> Found:
        here, there = (self._good, self._bad) if found.caller else (self._bad, self._good)
        there.pop(digest, None)
        here.pop(digest, None)
        here[digest] = found
        if len(here) > REMEMBERED_MAX:
            here.popitem(last=False)
        return found

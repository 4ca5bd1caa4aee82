# SPDX-License-Identifier: Apache-2.0
"""The one door for everything that an amphora says: answers, reports, datagrams.

An amphora carries its owner's traffic and may be broken into, so nothing it says is trusted. What
passes here is bounded in bytes, has finite numbers small enough to be added up in a bigint, and
texts without NUL and control characters. Fields that are not known come from a newer release and
are ignored. Whether names and generations can be true is decided by those who know the cluster.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from colonnade.domain.texts import storable

ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024  # a whole status, or all counters
SHORT_ANSWER_BYTES_MAX: Final = 64 * 1024  # every other answer
PARTS_MAX: Final = 50_000  # servers, listeners or counters in one message
COUNT_MAX: Final = 2**53  # sums of a thousand stay within a bigint, and JSON's readers agree on it
REAL_MAX: Final = 1e12
REAL_MIN: Final = 1e-6  # smaller is 0: PostgreSQL refuses what a real cannot hold
T = TypeVar("T")


class Unbelievable(Exception):
    """The amphora said what cannot be taken. The reason names no text of it."""


def decoded(content: bytes, kind: type[T]) -> T:
    """A JSON body as a checked message. Raises Unbelievable."""
    try:
        return checked(msgspec.json.decode(content, type=kind))
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Unbelievable(f"no {kind.__name__}: {storable(str(error), 200)}") from error


def checked(message: T) -> T:
    """A decoded message with every number and text within bounds. Raises Unbelievable."""
    cleaned: T = _clean(message)
    return cleaned


def real(number: float) -> float:
    """Finite, not negative, and of a size that a real of the store can hold."""
    if not math.isfinite(number) or number < REAL_MIN:
        return REAL_MAX if number == math.inf else 0.0
    return min(number, REAL_MAX)


def count(number: int) -> int:
    return min(max(number, 0), COUNT_MAX)


def _clean(value: Any) -> Any:
    match value:
        case bool() | None | bytes():
            return value
        case int():
            return count(value)
        case float():
            return real(value)
        case str():
            return value if value.isprintable() and len(value) <= 200 else storable(value)
        case tuple() | list():
            if len(value) > PARTS_MAX:
                raise Unbelievable(f"more than {PARTS_MAX} parts")
            return type(value)(map(_clean, value))
        case Mapping():
            if len(value) > PARTS_MAX:
                raise Unbelievable(f"more than {PARTS_MAX} parts")
            return {_clean(name): _clean(one) for name, one in value.items()}
        case msgspec.Struct():
            return type(value)(**{f: _clean(getattr(value, f)) for f in value.__struct_fields__})
        case _:
            return value

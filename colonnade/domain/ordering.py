# SPDX-License-Identifier: Apache-2.0
"""When a certificate is ordered, for which names, and what is answered when an issuer asks.

A certificate is ordered again at two thirds of its life, each at a moment of its own. After a
failure the pauses grow, so that no limit of an issuer is reached (Let's Encrypt: five failures an
hour for each name). Pure: chance and the clock are passed in.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from colonnade.domain.errors import require
from colonnade.domain.pools import is_host_name

HOST_NAMES_MAX: Final = 20
# At two thirds of its life, or a little earlier: not all on one day.
RENEWED_AT: Final = 2 / 3
EARLIER: Final = 0.05
FIRST_PAUSE_S: Final = 120.0
PAUSE_S: Final = 720.0  # the next ones double
PAUSE_S_MAX: Final = 43_200.0
CHALLENGE_PORT: Final = 80  # RFC 8555, 8.3
_NUMBER: Final = re.compile(r"\d+")


class OrderStatus(StrEnum):
    WAITING = "WAITING"  # it is not issued yet, or being renewed; what was there is served
    ISSUED = "ISSUED"
    FAILING = "FAILING"  # the last attempt failed; what was there is served


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """How far a secret is whose certificate is ordered. The defaults: an uploaded one."""

    host_names: tuple[str, ...] = ()
    stand_in: bool = False
    order_attempts: int = 0
    ordered_at: datetime | None = None
    next_order_at: datetime | None = None
    order_reason: str = ""

    @property
    def status(self) -> OrderStatus | None:
        if not self.host_names:
            return None
        if self.order_attempts and self.order_reason:
            return OrderStatus.FAILING
        is_issued = self.ordered_at is not None and not self.order_attempts
        return OrderStatus.ISSUED if is_issued else OrderStatus.WAITING


UPLOADED: Final = Order()


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asks one of these names for a token gets it back with the thumbprint of our account's
    key, which proves to the issuer that asked for us that the name leads here (RFC 8555, 8.3)."""

    thumbprint: str
    host_names: tuple[str, ...]


def read_host_names(given: Sequence[str]) -> tuple[str, ...]:
    """In small letters, each once. Raises Invalid for one that no issuer could ask by HTTP."""
    names = tuple(dict.fromkeys(name.lower().rstrip(".") for name in given))
    field = "host_names"
    require(field, 0 < len(names) <= HOST_NAMES_MAX, f"must be 1 to {HOST_NAMES_MAX} names")
    for name in names:
        require(
            field,
            not name.startswith("*."),
            f"have {name}: wildcards need proof by DNS, which is not offered; upload a certificate",
        )
        is_ascii = name.isascii()
        require(field, is_ascii, f"have {name!r}: give it as DNS has it (xn--...)")
        whole = is_host_name(name) and "_" not in name and "." in name
        named = whole and _NUMBER.fullmatch(name.rpartition(".")[2]) is None
        require(field, named, f"have {name!r}, which is not a host name such as www.example.com")
    return names


def pause_s(attempts: int, chance: float) -> float:
    """Until the next attempt, after so many in a row. `chance`: 0 to 1."""
    doubled = PAUSE_S * 2 ** min(max(attempts - 2, 0), 20)
    longest = FIRST_PAUSE_S if attempts <= 1 else min(PAUSE_S_MAX, doubled)
    return longest * (1 + chance / 4)


def renewal_at(not_before: datetime, not_after: datetime, chance: float) -> datetime:
    life = not_after - not_before
    return not_before + life * (RENEWED_AT - EARLIER * chance)


def sooner_at(order: Order, now: datetime) -> datetime:
    """When the next attempt may be, now that a person asks for one."""
    last = order.ordered_at
    if last is None or not order.order_attempts:
        return order.next_order_at or now
    soonest = max(now, last + timedelta(seconds=PAUSE_S))
    return min(soonest, order.next_order_at or soonest)

# SPDX-License-Identifier: Apache-2.0
"""Why a member is down, as its owner reads it: one sentence from what the last check met.

Pure. Callers say what a check met in the words of this module. Which engine made the check, and
how that engine names things, is not known here.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from colonnade.domain.pools import HealthMonitor
from colonnade.domain.vocabulary import HTTP_MONITORS, MonitorType

TEXT_MAX: Final = 120  # characters of what a server or the system said


class Cause(Enum):
    """What stopped a check, from the network up."""

    NOT_CONNECTED = "not connected"
    CONNECT_TIMEOUT = "connect timeout"
    TLS_TIMEOUT = "TLS timeout"
    TLS_FAILED = "TLS failed"
    ANSWER_TIMEOUT = "answer timeout"
    BAD_ANSWER = "bad answer"
    WRONG_CODE = "wrong code"
    BROKEN_OFF = "broken off"
    EJECTED = "ejected"
    UNKNOWN = "unknown"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The last check of a member. `code`: of an HTTP answer, 0 without one. `text`: what the
    system or the server said, one printable line."""

    cause: Cause
    code: int = 0
    text: str = ""
    duration_ms: int = 0


def explain(check: Check, monitor: HealthMonitor | None, place: str) -> str:
    """One sentence without a full stop: what was asked, what came, what was expected.

    `place`: the address and port that are checked."""
    asked = _request(monitor)
    if check.cause is Cause.WRONG_CODE and check.code:
        phrase = f" {check.text}" if check.text else ""
        expected = (monitor.expected_codes if monitor is not None else None) or "200"
        return f"{asked or place} answered {check.code}{phrase}, expected {expected}"
    sentence = _SENTENCES[check.cause].format(
        place=place, asked=asked or place, within=_within(check, monitor)
    )
    return f"{sentence} ({check.text})" if check.text else sentence


_SENTENCES: Final[Mapping[Cause, str]] = {
    Cause.NOT_CONNECTED: "the connection to {place} failed",
    Cause.CONNECT_TIMEOUT: "{place} did not accept a connection{within}",
    Cause.TLS_TIMEOUT: "{place} did not finish the TLS handshake{within}",
    Cause.TLS_FAILED: "the TLS handshake with {place} failed",
    Cause.ANSWER_TIMEOUT: "{asked} was not answered{within}",
    Cause.BAD_ANSWER: "the answer to {asked} is not HTTP",
    Cause.WRONG_CODE: "the answer to {asked} is not as expected",
    Cause.BROKEN_OFF: "{place} closed the connection during the check",
    Cause.EJECTED: "{place} failed too many requests of clients in a row",
    Cause.UNKNOWN: "the check of {place} failed",
}


def _request(monitor: HealthMonitor | None) -> str:
    if monitor is None or monitor.type not in HTTP_MONITORS:
        return ""
    scheme = " over HTTPS" if monitor.type is MonitorType.HTTPS else ""
    return f"{monitor.http_method or 'GET'} {monitor.url_path or '/'}{scheme}"


def _within(check: Check, monitor: HealthMonitor | None) -> str:
    """How long the check waited: the measured time for a connection, else the monitor's timeout,
    which ended the wait. The measured time would be a little less or more than that."""
    is_measured = check.duration_ms and check.cause is Cause.CONNECT_TIMEOUT
    if monitor is not None and monitor.timeout and not is_measured:
        return f" within {monitor.timeout} s"
    return f" within {check.duration_ms / 1000:.3g} s" if check.duration_ms else ""

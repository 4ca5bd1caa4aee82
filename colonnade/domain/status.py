# SPDX-License-Identifier: Apache-2.0
"""Statuses are computed from facts; nobody writes a provisioning status, so none can be stuck.

`provisioning_status` guards nothing: it is an answer to the question "is what I wished
served by now?". Operating statuses come up from members to load balancers.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Provisioning(StrEnum):
    ACTIVE = "ACTIVE"
    PENDING_CREATE = "PENDING_CREATE"
    PENDING_UPDATE = "PENDING_UPDATE"
    PENDING_DELETE = "PENDING_DELETE"
    ERROR = "ERROR"


class Operating(StrEnum):
    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    DEGRADED = "DEGRADED"
    ERROR = "ERROR"
    DRAINING = "DRAINING"
    NO_MONITOR = "NO_MONITOR"


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """How far a cluster is.

    `lowest`: the lowest generation that its serving amphorae have applied, 0 when none serves.
    `highest_settled`: the highest generation that was ever served by all of them.
    `failed_at`: the generation whose last attempt was Broken, or None.
    """

    lowest: int = 0
    highest_settled: int = 0
    failed_at: int | None = None


def provisioning(*, created: int, changed: int, deleted: bool, applied: Applied) -> Provisioning:
    """The status of an object created at and last changed at these generations."""
    served = applied.lowest >= changed
    if not served and applied.failed_at is not None and applied.failed_at >= changed:
        return Provisioning.ERROR
    if deleted:
        return Provisioning.PENDING_DELETE
    if served:
        return Provisioning.ACTIVE
    if created > applied.highest_settled:
        return Provisioning.PENDING_CREATE
    return Provisioning.PENDING_UPDATE


def summary(statuses: Iterable[Operating]) -> Operating:
    """What a parent shows for its children: all bad is ERROR, some bad is DEGRADED."""
    seen = set(statuses)
    good = {Operating.ONLINE, Operating.NO_MONITOR, Operating.DRAINING, Operating.DEGRADED}
    if Operating.ERROR in seen:
        return Operating.DEGRADED if seen & good else Operating.ERROR
    if Operating.DEGRADED in seen:
        return Operating.DEGRADED
    return Operating.ONLINE if seen & good else Operating.OFFLINE

# SPDX-License-Identifier: Apache-2.0
"""haproxy's words for states, as the facts that statuses are computed from. Pure.

Backends are named after their pool, with more behind a colon where a pool has several. A member
that is checked through several backends is as bad as the worst of them. Names and states that
mean nothing are left out: an amphora may say what it likes.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from colonnade.domain.operating import Facts
from colonnade.domain.status import Operating
from colonnade.protocol.messages import StatusReport

MEMBER_STATES: Final[Mapping[str, Operating]] = {
    "UP": Operating.ONLINE,
    "DOWN": Operating.ERROR,
    "DRAIN": Operating.DRAINING,
    "MAINT": Operating.OFFLINE,
    "NO_CHECK": Operating.NO_MONITOR,
}
LISTENER_STATES: Final[Mapping[str, Operating]] = {
    "OPEN": Operating.ONLINE,
    "FULL": Operating.DEGRADED,
}
GENERATION_MAX: Final = 2**63 - 1  # a bigint of the store


def facts_of_report(report: StatusReport) -> Facts:
    servers = ((server.backend, server.name, server.state) for server in report.servers)
    return Facts(
        generation=min(max(report.generation, 0), GENERATION_MAX),
        is_running=report.haproxy_running,
        listeners={
            listener.name: LISTENER_STATES[listener.state]
            for listener in report.listeners
            if listener.state in LISTENER_STATES
        },
        members=_members(servers),
    )


def facts_of_edge(
    generation: int, is_running: bool, servers: Mapping[tuple[str, str], str]
) -> Facts:
    told = ((backend, name, state) for (backend, name), state in servers.items())
    return Facts(generation=generation, is_running=is_running, members=_members(told))


def _members(servers: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], Operating]:
    found: dict[tuple[str, str], Operating] = {}
    for backend, name, state in servers:
        status = MEMBER_STATES.get(state)
        place = backend.partition(":")[0], name
        if status is not None and found.get(place) is not Operating.ERROR:
            found[place] = status
    return found

# SPDX-License-Identifier: Apache-2.0
"""haproxy's words for states, as the facts that statuses are computed from; and its counts. Pure.

Backends are named after their pool, with more behind a colon where a pool has several. A member
that is checked through several backends has the worst of their states. Names and states that are
not known are left out, because an amphora may say anything.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from colonnade.domain import checks
from colonnade.domain.checks import Cause, Check
from colonnade.domain.ids import ListenerId, MemberId
from colonnade.domain.operating import Facts
from colonnade.domain.status import Operating
from colonnade.drivers.amphora.answers import count
from colonnade.protocol.messages import CheckResult, ServerStatus, StatisticsReport, StatusReport
from colonnade.store.reports.traffic import ListenerTraffic, MemberTraffic

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
# haproxy's management guide, `check_status` of `show stat`.
CAUSES: Final[Mapping[str, Cause]] = {
    "SOCKERR": Cause.BROKEN_OFF,
    "L4TOUT": Cause.CONNECT_TIMEOUT,
    "L4CON": Cause.NOT_CONNECTED,
    "L6TOUT": Cause.TLS_TIMEOUT,
    "L6RSP": Cause.TLS_FAILED,
    "L7TOUT": Cause.ANSWER_TIMEOUT,
    "L7RSP": Cause.BAD_ANSWER,
    "L7STS": Cause.WRONG_CODE,
    "HANA": Cause.EJECTED,
}
CODE_MAX: Final = 999
DURATION_MS_MAX: Final = 24 * 3600 * 1000
GENERATION_MAX: Final = 2**63 - 1  # a bigint of the store
Traffic = TypeVar("Traffic", ListenerTraffic, MemberTraffic)


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
        checks=_checks(report.servers),
        closed_pools=frozenset(
            backend.name.partition(":")[0] for backend in report.backends if backend.state == "DOWN"
        ),
    )


def facts_of_edge(
    generation: int, is_running: bool, servers: Mapping[tuple[str, str], str]
) -> Facts:
    told = ((backend, name, state) for (backend, name), state in servers.items())
    return Facts(generation=generation, is_running=is_running, members=_members(told))


def traffic_of_report(
    report: StatisticsReport,
) -> tuple[dict[ListenerId, ListenerTraffic], dict[MemberId, MemberTraffic]]:
    """Names that are no ids, and names beyond what the store can keep, are left out."""
    listeners = {
        ListenerId(one.name): _copied(one, ListenerTraffic)
        for one in report.listeners
        if is_id(one.name)
    }
    members: dict[MemberId, MemberTraffic] = {}
    for told in report.members:
        if is_id(told.name):
            traffic = _copied(told, MemberTraffic)
            known = members.get(MemberId(told.name))
            members[MemberId(told.name)] = traffic if known is None else _sum(known, traffic)
    return listeners, members


def _copied(told: msgspec.Struct, kind: type[Traffic]) -> Traffic:
    return kind(**{name: count(getattr(told, name)) for name in kind.__struct_fields__})


def _sum(one: MemberTraffic, other: MemberTraffic) -> MemberTraffic:
    """The counts of a member that stands in several backends of its pool. The longer mean time
    holds."""
    sums = {name: getattr(one, name) + getattr(other, name) for name in one.__struct_fields__}
    sums["response_ms"] = max(one.response_ms, other.response_ms)
    return MemberTraffic(**{name: count(number) for name, number in sums.items()})


def _members(servers: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], Operating]:
    found: dict[tuple[str, str], Operating] = {}
    for backend, name, state in servers:
        status = MEMBER_STATES.get(state)
        place = backend.partition(":")[0], name
        if status is not None and found.get(place) is not Operating.ERROR:
            found[place] = status
    return found


def _checks(servers: Iterable[ServerStatus]) -> dict[tuple[str, str], Check]:
    """Why members are down. Of several backends the first that gives a reason is taken."""
    found: dict[tuple[str, str], Check] = {}
    for server in servers:
        if server.state == "DOWN" and server.check is not None:
            place = server.backend.partition(":")[0], server.name
            found.setdefault(place, _check(server.check))
    return found


def _check(told: CheckResult) -> Check:
    cause = CAUSES.get(told.status, Cause.UNKNOWN)
    text = "".join(c for c in told.text[: checks.TEXT_MAX] if c.isprintable())
    return Check(
        cause=cause,
        code=told.code if 0 <= told.code <= CODE_MAX else 0,
        text=text,
        duration_ms=min(max(told.duration_ms, 0), DURATION_MS_MAX),
    )


def is_id(text: str) -> bool:
    """Whether it is one as we write them."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False

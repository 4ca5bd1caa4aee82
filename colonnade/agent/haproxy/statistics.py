# SPDX-License-Identifier: Apache-2.0
"""What haproxy's `show stat` says, as statuses and as counters that never go back.

Pure. haproxy counts anew in each process; the counters here are what all processes together
counted, those that ended included. A worker that still finishes old connections after a reload
goes on counting. Nothing here knows a socket.
"""

import csv
import operator
from collections.abc import Mapping, Sequence, Set
from typing import Final

import msgspec

from colonnade.protocol.bundle import Bundle
from colonnade.protocol.messages import (
    BackendStatus,
    CheckResult,
    ListenerStatistics,
    ListenerStatus,
    MemberStatistics,
    ServerStatus,
    StatisticsReport,
    StatusReport,
)

SHOW: Final = "show stat -1 7 -1"  # all proxies; frontends (1), backends (2), servers (4); all
FRONTEND, BACKEND, SERVER = "0", "1", "2"  # the column `type`
CHECK_TEXT_MAX: Final = 120  # characters of a check's words
RESPONSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
ENDED_MAX: Final = 20_000  # names that no process counts any more, and whose sums are kept
_STATES: Final = {
    "UP": "UP",
    "DOWN": "DOWN",
    "DRAIN": "DRAIN",
    "NOLB": "DRAIN",
    "MAINT": "MAINT",
    "no": "NO_CHECK",
}
Row = Mapping[str, str]


class Totals(msgspec.Struct, frozen=True, array_like=True):
    """What one listener or server counted since its process began, and what is of now: `active`,
    `queued` and `response_ms`."""

    active: int = 0
    queued: int = 0
    response_ms: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    errors: int = 0
    total: int = 0
    requests: int = 0
    denied: int = 0
    connection_errors: int = 0
    response_errors: int = 0
    responses_2xx: int = 0
    responses_3xx: int = 0
    responses_4xx: int = 0
    responses_5xx: int = 0

    def plus(self, newer: "Totals") -> "Totals":
        """The sum of both. A mean is taken from the newer one, if that has measured anything."""
        sums = [
            mine + theirs
            for mine, theirs in zip(
                msgspec.structs.astuple(self), msgspec.structs.astuple(newer), strict=True
            )
        ]
        sums[RESPONSE_MS] = newer.response_ms or self.response_ms
        return Totals(*sums)

    @property
    def ended(self) -> "Totals":
        """The same after the process ended: nothing is active, and nothing is queued."""
        return msgspec.structs.replace(self, active=0, queued=0)

    def follows(self, before: "Totals") -> bool:
        """Whether both can be readings of one process, this one later: no counter fell."""
        now, then = msgspec.structs.astuple(self), msgspec.structs.astuple(before)
        return all(map(operator.ge, now[OF_NOW:], then[OF_NOW:]))


RESPONSE_MS: Final = 2
OF_NOW: Final = 3  # the first fields of `Totals`, which rise and fall
NO_TOTALS: Final = Totals()


def rows(text: str) -> list[Row]:
    """The lines of `show stat`; none when the text is something else."""
    lines = text.strip().removeprefix("# ").splitlines()
    if not lines or not lines[0].startswith("pxname,"):
        return []
    return [row for row in csv.DictReader(lines) if row.get("type") is not None]


def status(
    found: Sequence[Row], served: Bundle, before: StatusReport | None = None
) -> StatusReport:
    """Statuses of the servers in the bundle; other servers are leaving and are not told.
    `before` is the last report: a check with the same result keeps the same words."""
    named = {(b.name, s.name) for b in served.backends for s in b.servers}
    known = {(s.backend, s.name): s.check for s in before.servers} if before is not None else {}
    listeners = tuple(
        ListenerStatus(name=row["pxname"], state=row["status"])
        for row in found
        if row["type"] == FRONTEND and row["status"] in ("OPEN", "FULL")
    )
    servers = tuple(
        _server(row, known.get((row["pxname"], row["svname"])))
        for row in found
        if row["type"] == SERVER and (row["pxname"], row["svname"]) in named
    )
    serving = {backend.name for backend in served.backends if backend.servers}
    backends = tuple(
        BackendStatus(name=row["pxname"], state=server_state(row["status"]))
        for row in found
        if row["type"] == BACKEND and row["pxname"] in serving
    )
    return StatusReport(
        generation=served.generation,
        haproxy_running=True,
        listeners=listeners,
        servers=servers,
        backends=backends,
    )


def _server(row: Row, known: CheckResult | None) -> ServerStatus:
    state = server_state(row["status"])
    if state in ("UP", "NO_CHECK") and row.get("uweight") == "0":
        state = "DRAIN"  # haproxy's word for it names only what a person drained
    check = _check(row) if state == "DOWN" else None
    if check is not None and known is not None and _same_words(check, known):
        check = known
    return ServerStatus(backend=row["pxname"], name=row["svname"], state=state, check=check)


def _check(row: Row) -> CheckResult | None:
    """The last check. One that is under way has a star before it."""
    status = row.get("check_status", "").removeprefix("* ")
    if not status:
        return None
    return CheckResult(
        status=status,
        code=_count(row, "check_code"),
        text=row.get("last_chk", "")[:CHECK_TEXT_MAX],
        duration_ms=_count(row, "check_duration"),
    )


def _same_words(one: CheckResult, other: CheckResult) -> bool:
    return msgspec.structs.replace(one, duration_ms=other.duration_ms) == other


def server_state(text: str) -> str:
    """haproxy's "UP 1/3", "DOWN (agent)", "MAINT (via x/y)", "no check" in one word."""
    return _STATES.get(text.split(" ", 1)[0], "DOWN")


def totals(found: Sequence[Row]) -> dict[str, Totals]:
    """By listener, and by "backend/server"."""
    return {
        row["pxname"] if row["type"] == FRONTEND else f"{row['pxname']}/{row['svname']}": _read(row)
        for row in found
        if row["type"] in (FRONTEND, SERVER)
    }


def _read(row: Row) -> Totals:
    responses = [_count(row, f"hrsp_{kind}") for kind in RESPONSES]
    # haproxy does not count a server's requests, so its responses are added up instead.
    requests = _count(row, "req_tot") if row["type"] == FRONTEND else sum(responses)
    return Totals(
        active=_count(row, "scur"),
        queued=_count(row, "qcur"),
        response_ms=_count(row, "rtime"),
        bytes_in=_count(row, "bin"),
        bytes_out=_count(row, "bout"),
        errors=_count(row, "ereq"),
        total=_count(row, "stot"),
        requests=requests,
        denied=_count(row, "dreq"),
        connection_errors=_count(row, "econ"),
        response_errors=_count(row, "eresp"),
        responses_2xx=responses[1],
        responses_3xx=responses[2],
        responses_4xx=responses[3],
        responses_5xx=responses[4],
    )


class Counters(msgspec.Struct, frozen=True):
    """`ended`: sums of processes that are no more; `living`: last reading of each process."""

    ended: dict[str, Totals] = {}
    living: dict[int, dict[str, Totals]] = {}

    def read(self, samples: Mapping[int, Mapping[str, Totals]]) -> "Counters":
        """Take new readings of all processes that run."""
        ended = dict(self.ended)
        for pid, before in self.living.items():
            now = samples.get(pid, {})
            for name, old in before.items():
                # Fewer than before: another process got the number, or a server came back.
                if (name not in now or not now[name].follows(old)) and old != NO_TOTALS:
                    ended[name] = ended.get(name, NO_TOTALS).plus(old.ended)
        living = {pid: dict(sample) for pid, sample in samples.items()}
        if len(ended) > ENDED_MAX:
            named = {name for sample in living.values() for name in sample}
            ended = {name: counted for name, counted in ended.items() if name in named}
        return Counters(ended, living)

    def report(self, served: Bundle) -> StatisticsReport:
        """Counters of every listener that ever was, and of the servers in the bundle."""
        sums = dict(self.ended)
        for sample in reversed(self.living.values()):  # the newest process is read first
            for name, counted in sample.items():
                sums[name] = sums.get(name, NO_TOTALS).plus(counted)
        return StatisticsReport(
            listeners=tuple(
                _listener(name, counted)
                for name, counted in sorted(sums.items())
                if "/" not in name
            ),
            members=tuple(
                _member(backend.name, server.name, sums[f"{backend.name}/{server.name}"])
                for backend in served.backends
                for server in backend.servers
                if f"{backend.name}/{server.name}" in sums
            ),
        )


def _listener(name: str, t: Totals) -> ListenerStatistics:
    return ListenerStatistics(
        name=name,
        active_connections=t.active,
        bytes_in=t.bytes_in,
        bytes_out=t.bytes_out,
        request_errors=t.errors,
        total_connections=t.total,
        requests=t.requests,
        denied_requests=t.denied,
        responses_2xx=t.responses_2xx,
        responses_3xx=t.responses_3xx,
        responses_4xx=t.responses_4xx,
        responses_5xx=t.responses_5xx,
    )


def _member(backend: str, name: str, t: Totals) -> MemberStatistics:
    return MemberStatistics(
        backend=backend,
        name=name,
        active_connections=t.active,
        total_connections=t.total,
        bytes_in=t.bytes_in,
        bytes_out=t.bytes_out,
        requests=t.requests,
        connection_errors=t.connection_errors,
        response_errors=t.response_errors,
        responses_2xx=t.responses_2xx,
        responses_3xx=t.responses_3xx,
        responses_4xx=t.responses_4xx,
        responses_5xx=t.responses_5xx,
        queued=t.queued,
        response_ms=t.response_ms,
    )


def down_servers(state: str, keep: Set[tuple[str, str]]) -> str:
    """The lines of `show servers state` that a new process should start from.

    Only servers that health checks found down, and only those of `keep`: weight and
    administrative state come from the file, which may say otherwise than the old process.
    """
    lines = state.strip().splitlines()
    kept = lines[:2]
    for line in lines[2:]:
        fields = line.split(" ")
        # srv_op_state 0 with srv_admin_state 0: down by its checks, not by somebody's wish.
        if len(fields) < 9 or fields[5:7] != ["0", "0"] or (fields[1], fields[3]) not in keep:
            continue
        fields[7] = fields[8]  # srv_uweight as the initial one: the file's weight holds
        kept.append(" ".join(fields))
    return "\n".join(kept) + "\n"


def _count(row: Row, name: str) -> int:
    text = row.get(name, "")
    return int(text) if text.isdigit() else 0

# SPDX-License-Identifier: Apache-2.0
"""What haproxy's `show stat` says, as statuses and as counters that never go back.

Pure. haproxy counts anew in each process; the counters here are what all processes together
counted, those that ended included. A worker that still finishes old connections after a reload
goes on counting. Nothing here knows a socket.
"""

import csv
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from colonnade.protocol.bundle import Bundle
from colonnade.protocol.messages import (
    ListenerStatistics,
    ListenerStatus,
    ServerStatus,
    StatisticsReport,
    StatusReport,
)

SHOW: Final = "show stat -1 5 -1"  # all proxies; frontends (1) and servers (4); all
FRONTEND, SERVER = "0", "2"  # the column `type`
_STATES: Final = {
    "UP": "UP",
    "DOWN": "DOWN",
    "DRAIN": "DRAIN",
    "NOLB": "DRAIN",
    "MAINT": "MAINT",
    "no": "NO_CHECK",
}
Row = Mapping[str, str]


class Totals(msgspec.Struct, frozen=True):
    """What one listener counted. `active` is of now, the others since the process began."""

    active: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    errors: int = 0
    total: int = 0

    def plus(self, other: "Totals") -> "Totals":
        return Totals(
            self.active + other.active,
            self.bytes_in + other.bytes_in,
            self.bytes_out + other.bytes_out,
            self.errors + other.errors,
            self.total + other.total,
        )

    @property
    def ended(self) -> "Totals":
        """The same when the process is no more: nothing is active."""
        return msgspec.structs.replace(self, active=0)


def rows(text: str) -> list[Row]:
    """The lines of `show stat`. Anything that is not that gives none."""
    lines = text.strip().removeprefix("# ").splitlines()
    if not lines or not lines[0].startswith("pxname,"):
        return []
    return [row for row in csv.DictReader(lines) if row.get("type") is not None]


def status(found: Sequence[Row], served: Bundle) -> StatusReport:
    """The statuses, of the servers that the bundle names; others are on their way out."""
    named = {(b.name, s.name) for b in served.backends for s in b.servers}
    listeners = tuple(
        ListenerStatus(name=row["pxname"], state=row["status"])
        for row in found
        if row["type"] == FRONTEND and row["status"] in ("OPEN", "FULL")
    )
    servers = tuple(
        ServerStatus(backend=row["pxname"], name=row["svname"], state=server_state(row["status"]))
        for row in found
        if row["type"] == SERVER and (row["pxname"], row["svname"]) in named
    )
    return StatusReport(
        generation=served.generation, haproxy_running=True, listeners=listeners, servers=servers
    )


def server_state(text: str) -> str:
    """haproxy's "UP 1/3", "DOWN (agent)", "MAINT (via x/y)", "no check" in one word."""
    return _STATES.get(text.split(" ", 1)[0], "DOWN")


def totals(found: Sequence[Row]) -> dict[str, Totals]:
    return {
        row["pxname"]: Totals(
            _count(row, "scur"),
            _count(row, "bin"),
            _count(row, "bout"),
            _count(row, "ereq"),
            _count(row, "stot"),
        )
        for row in found
        if row["type"] == FRONTEND
    }


class Counters(msgspec.Struct, frozen=True):
    """`ended`: sums of processes that are no more; `living`: last reading of each process."""

    ended: dict[str, Totals] = {}
    living: dict[int, dict[str, Totals]] = {}

    def read(self, samples: Mapping[int, Mapping[str, Totals]]) -> "Counters":
        """With a new reading of all processes there are."""
        ended = dict(self.ended)
        for pid, before in self.living.items():
            now = samples.get(pid, {})
            for name, old in before.items():
                # Fewer than before: another process got the number.
                if name not in now or now[name].total < old.total:
                    ended[name] = ended.get(name, Totals()).plus(old.ended)
        return Counters(ended, {pid: dict(sample) for pid, sample in samples.items()})

    def report(self) -> StatisticsReport:
        sums = dict(self.ended)
        for sample in self.living.values():
            for name, counted in sample.items():
                sums[name] = sums.get(name, Totals()).plus(counted)
        return StatisticsReport(
            listeners=tuple(
                ListenerStatistics(
                    name=name,
                    active_connections=t.active,
                    bytes_in=t.bytes_in,
                    bytes_out=t.bytes_out,
                    request_errors=t.errors,
                    total_connections=t.total,
                )
                for name, t in sorted(sums.items())
            )
        )


def down_servers(state: str, keep: set[tuple[str, str]]) -> str:
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

# SPDX-License-Identifier: Apache-2.0
"""All that a running system holds: processes, links, files, rows, memory. Counted from outside.

Two counts of one system that wishes for the same must be equal, whatever it did between them, but
for what is kept on purpose (`REMEMBERED`), and logs.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from bench.idle import kind_of
from bench.processes import megabytes
from colonnade.cli.local import folders, leftovers
from colonnade.cli.local.system import System
from colonnade.cli.waiting import until
from colonnade.store.postgres import embedded

# Rows that outlive what they tell of until their time is over, their amphora is gone or they are
# folded into one; and the one row of safe mode, which whoever needs it first makes.
REMEMBERED: Final = (
    "events",
    "failovers",
    "generations",
    "idempotency_keys",
    "listener_series",
    "listener_traffic",
    "member_traffic",
    "statistics",
    "troubles",
    "safe_mode",
)
POOLED: Final = "postgres"  # processes: as many as pools of connections like to have just then
QUIET_S_MAX: Final = 180.0
PAUSE_S: Final = 2.0
SKIPPED: Final = ("logs", "postgres", "postgres.log", "up.log")  # of the state folder


class Census(msgspec.Struct, frozen=True):
    processes: Mapping[str, int]
    links: int  # in all network namespaces in which something runs
    files: int  # of the state folder and of the run folder, that of the lab's inside included
    open_files: int  # of all processes but PostgreSQL's, which opens tables as it needs them
    rows: Mapping[str, int]
    memory_mb: Mapping[str, float]  # PSS, by what the processes are

    @property
    def pss_mb(self) -> float:
        return round(sum(self.memory_mb.values()), 1)

    def beyond(self, before: "Census") -> dict[str, int]:
        """What there is more or less of than before; memory apart, and what is remembered."""
        now, then = self._counts(), before._counts()
        changed = {name: now[name] - then[name] for name in now.keys() | then.keys()}
        return {name: more for name, more in sorted(changed.items()) if more}

    def _counts(self) -> Counter[str]:
        there = {f"processes.{n}": count for n, count in self.processes.items() if n != POOLED}
        kept = {f"rows.{name}": n for name, n in self.rows.items() if name not in REMEMBERED}
        return Counter({"links": self.links, "files": self.files} | there | kept)


def census(system: System) -> Census:
    processes: Counter[str] = Counter()
    networks: dict[int, int] = {}
    memory_mb: dict[str, float] = defaultdict(float)
    open_files = 0
    for pid in leftovers.family(system.mark):
        place = Path(f"/proc/{pid}")
        with contextlib.suppress(OSError):  # gone meanwhile
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            inode, links = (place / "ns/net").stat().st_ino, _links(place)
            kind = kind_of(words)
            memory_mb[kind] += megabytes((place / "smaps_rollup").read_text(), "Pss:")
            processes[kind] += 1
            if kind != POOLED:
                open_files += len(list((place / "fd").iterdir()))
            networks[inode] = links
    return Census(
        processes=processes,
        links=sum(networks.values()),
        files=_files(system),
        open_files=open_files,
        rows=_rows(system),
        memory_mb=memory_mb,
    )


async def quiet(system: System) -> Census:
    """The census, once two that follow each other are the same: nothing is on its way any more."""
    found = [census(system)]

    async def is_quiet() -> bool:
        found.append(census(system))
        return not found[-1].beyond(found[-2])

    await until(is_quiet, within_s=QUIET_S_MAX, what="the system to be quiet", pause_s=PAUSE_S)
    return found[-1]


def database_url(system: System) -> str:
    socket = folders.run_dir_path(system.state) / embedded.SOCKET_FOLDER
    return f"postgresql:///{embedded.DATABASE}?host={socket}&user={embedded.USER}"


def failovers_of(system: System) -> int:
    """All that were begun, for whatever reason."""
    with psycopg.connect(database_url(system)) as connection:
        row = connection.execute("SELECT count(*) FROM failovers").fetchone()
    return int(row[0]) if row else 0


def _links(place: Path) -> int:
    return len((place / "net/dev").read_text().splitlines()) - 2


def _files(system: System) -> int:
    run = folders.run_dir_path(system.state)
    own = [one for one in system.state.iterdir() if one.name not in SKIPPED]
    found = sum(1 for top in (*own, run) for one in (top, *top.rglob("*")) if one.exists())
    for pid, words in leftovers.family(system.mark).items():
        if "lab-init.sh" in words and words.startswith("sh "):
            inside = Path(f"/proc/{pid}/root{run}/lab")
            found += sum(1 for _ in inside.rglob("*"))
    return found


def _rows(system: System) -> dict[str, int]:
    with psycopg.connect(database_url(system), autocommit=True) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename !~ 'yoyo'"
        ).fetchall()
        rows = {}
        for (name,) in tables:
            counted = connection.execute(f'SELECT count(*) FROM "{name}"'.encode()).fetchone()
            rows[name] = counted[0] if counted else 0
    return rows

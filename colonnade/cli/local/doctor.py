# SPDX-License-Identifier: Apache-2.0
"""`colonnade doctor`: what this machine lacks for `colonnade up`, and how to get it.

Each check looks at the real thing (it starts the binary, it makes the namespace, it binds the
port) and leaves nothing behind. It advises only where something is missing. Exit code 1 when that
is something that is needed. With a running system it also says how that is.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from colonnade.api.server.binding import address_of, check_address
from colonnade.cli.local import folders, own_networks
from colonnade.cli.local.metrics_places import places
from colonnade.cli.local.starting import api_answers, is_held
from colonnade.domain.errors import ColonnadeError
from colonnade.drivers.network.namespaces import groups
from colonnade.drivers.network.namespaces.lab import what_to_allow
from colonnade.runtime.config import Api, Config, read_config
from colonnade.runtime.system_programs import find_bird, find_keepalived, find_nft

CHECK_S_MAX: Final = 10
BEGINS_S: Final = 20.0  # until all processes of a system that has just started are known
AGAIN_S: Final = 0.2
MIB: Final = 1024 * 1024
DISK_NEEDED: Final = 300 * MIB  # the database as it is made, and a day's logs
DISK_WANTED: Final = 1024 * MIB
_ANOTHER: Final = "choose another with --state"
MEMORY_WANTED: Final = 700 * MIB  # the processes, PostgreSQL, two spares


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. `cure` is what to do, empty when nothing is wrong."""

    what: str
    found: str
    cure: str = ""
    needed: bool = True
    wrong: str = "missing"  # the word for it, when it is


def run_doctor(state: Path | None) -> int:
    findings = list(findings_of(folders.state_dir(state)))
    table = Table("", "what", "found", "what to do")
    for finding in findings:
        mark = "[green]ok[/green]" if not finding.cure else f"[red]{finding.wrong}[/red]"
        if finding.cure and not finding.needed:
            mark = "[yellow]optional[/yellow]"
        table.add_row(mark, finding.what, finding.found, finding.cure)
    Console().print(table)
    return int(any(f.cure and f.needed for f in findings))


def findings_of(state: Path) -> Iterator[Finding]:
    yield Finding(what="Python", found=sys.version.split()[0])
    for tool in ("unshare", "nsenter", "setpriv", "mount"):
        yield _tool(tool)
    yield _rights()
    yield _namespaces()
    yield _groups()
    yield _ipv6()
    yield _part("HAProxy", _haproxy, "pip install 'colonnade[local]', or apt-get install haproxy")
    yield _part("PostgreSQL", _postgres, "pip install 'colonnade[local]', or use --database")
    yield _nft()
    yield _keepalived()
    yield _bird()
    yield _state(state)
    yield _disk(state)
    yield _memory()
    yield _api(state)
    yield from _own_networks(state)
    yield from _cloud(state)
    yield from _fleet(state)
    yield from _metrics(state)


def _tool(name: str) -> Finding:
    path = shutil.which(name)
    cure = "" if path else "apt-get install util-linux mount"
    return Finding(what=name, found=path or "not here", cure=cure)


def _nft() -> Finding:
    path = find_nft()
    cure = "" if path else "apt-get install nftables (without it allowed_cidrs of a listener fails)"
    return Finding(what="nft", found=path or "not here", cure=cure, needed=False)


def _keepalived() -> Finding:
    path = find_keepalived()
    cure = "" if path else "apt-get install keepalived (without it there is no ACTIVE_STANDBY)"
    return Finding(what="keepalived", found=str(path or "not here"), cure=cure, needed=False)


def _bird() -> Finding:
    path = find_bird()
    cure = "" if path else "apt-get install bird2 (without it no VIP is announced by BGP)"
    return Finding(what="bird", found=str(path or "not here"), cure=cure, needed=False)


def _rights() -> Finding:
    if os.geteuid() == 0:
        return Finding(what="rights", found="root")
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    return Finding(what="rights", found=f"user {name}: all but --host-route")


def _namespaces() -> Finding:
    as_user = ["--user", "--map-root-user"] if os.geteuid() != 0 else []
    argv = ["unshare", *as_user, "--net", "--mount", "--pid", "--fork", "true"]
    try:
        made = subprocess.run(
            argv, capture_output=True, text=True, timeout=CHECK_S_MAX, check=False
        )
    except OSError as error:
        return Finding(what="namespaces", found=str(error), cure="apt-get install util-linux")
    if made.returncode == 0:
        return Finding(what="namespaces", found="may be made")
    return Finding(what="namespaces", found=made.stderr.strip(), cure=what_to_allow())


def _groups() -> Finding:
    cause, cure = groups.what_is_missing()
    words = f"{cause}: amphorae may take any memory and any number of processes"
    return Finding(
        what="control groups", found=words if cause else "writable", cure=cure, needed=False
    )


def _ipv6() -> Finding:
    if Path("/proc/net/if_inet6").exists():
        return Finding(what="IPv6", found="in the kernel")
    return Finding(
        what="IPv6",
        found="not in the kernel",
        cure="start the kernel without ipv6.disable=1, or load the module ipv6",
    )


def _state(state: Path) -> Finding:
    """The folder, or the nearest one above that is there, must take files."""
    there = _there(state)
    words = str(state) if there == state else f"{state} (not there yet)"
    if not there.is_dir():
        return Finding(what="state folder", found=f"{there} is not a folder", cure=_ANOTHER)
    if not os.access(there, os.W_OK | os.X_OK):
        cure = f"ask for write permission, or {_ANOTHER}"
        return Finding(what="state folder", found=f"{there} is not writable", cure=cure)
    return Finding(what="state folder", found=words)


def _disk(state: Path) -> Finding:
    free = shutil.disk_usage(_there(state)).free
    cure = "" if free >= DISK_WANTED else f"make room: {DISK_WANTED // MIB} MiB or more"
    return Finding(
        what="disk", found=f"{free // MIB} MiB free", cure=cure, needed=free < DISK_NEEDED
    )


def _memory() -> Finding:
    lines = Path("/proc/meminfo").read_text().splitlines()
    amounts = {line.partition(":")[0]: line.split()[1] for line in lines}
    free = int(amounts["MemAvailable"]) * 1024
    cure = (
        "" if free >= MEMORY_WANTED else f"end other programs: {MEMORY_WANTED // MIB} MiB or more"
    )
    return Finding(what="memory", found=f"{free // MIB} MiB available", cure=cure, needed=False)


def _api(state: Path) -> Finding:
    """Of a running system whether it answers; else whether its address is free."""
    try:
        api = _configured(state)
    except (OSError, ValueError) as error:
        return Finding(what="configuration", found=str(error), cure="correct the file")
    if is_held(state):
        if asyncio.run(api_answers(api)):
            return Finding(what="system", found=f"runs, and http://{address_of(api)} answers")
        return Finding(
            what="system",
            found=f"runs, but http://{address_of(api)} does not answer",
            cure=f"wait if it is starting; else look into {state / 'logs'}",
        )
    try:
        check_address(api)
    except ColonnadeError as error:
        return Finding(what="API address", found=error.public, cure="choose with --api HOST:PORT")
    return Finding(what="API address", found=f"{address_of(api)} is free; no system runs")


def _own_networks(state: Path) -> Iterator[Finding]:
    """Whether this machine can have the networks that its configuration says."""
    try:
        config = read_config(folders.config_file(state))
        if config.network:
            own_networks.check(config)
    except ColonnadeError as error:
        yield Finding(
            what="own networks", found=error.public, cure=f"correct {folders.config_file(state)}"
        )
    except (OSError, ValueError):  # told of already, or none is configured
        return
    else:
        if config.network:
            yield Finding(what="own networks", found=", ".join(one.name for one in config.network))


def _cloud(state: Path) -> Iterator[Finding]:
    """Whose services the configuration names."""
    from colonnade.cli.local.cloud_checks import checks_of

    # Before the first start the file need not say where anything is.
    places = {"state_dir": str(state), "run_dir": str(state), "database_url": ""}

    async def asked() -> list[Finding]:
        config = read_config(folders.config_file(state), places)
        return [
            Finding(what=one.what, found=one.found, cure=one.cure)
            async for one in checks_of(config)
        ]

    with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):  # told of already
        yield from asyncio.run(asked())


def _fleet(state: Path) -> Iterator[Finding]:
    """Of a running system what its own processes have found."""
    if not is_held(state):
        return
    try:
        problems = asyncio.run(problems_of(read_config(folders.config_file(state))))
    except (ColonnadeError, OSError, ValueError, msgspec.MsgspecError) as error:
        reason = f"cannot be asked: {error}"
        cure = "run this as the user that runs the system"
        yield Finding(what="fleet", found=reason, cure=cure, needed=False)
        return
    if not problems:
        yield Finding(what="fleet", found="nothing is wrong")
    for problem in problems:
        cure = "see 'Safe mode is on' and 'Processes are missed' in docs/operations.md"
        yield Finding(what="fleet", found=problem, cure=cure, wrong="alarm")


async def problems_of(config: Config, begins_s: float = BEGINS_S) -> Sequence[str]:
    """`begins_s`: for so long processes that are not there yet are waited for."""
    from colonnade.store.fleet.failovers import Rules
    from colonnade.store.fleet.overview import overview
    from colonnade.store.postgres.database import Database
    from colonnade.store.postgres.places import login

    rules = Rules(heartbeats=config.heartbeats, failovers=config.failovers)
    database = await Database.connect(login(config))
    try:
        until = time.monotonic() + begins_s
        while True:
            async with database.read() as connection:
                found = await overview(connection, rules)
            if not found.absent or time.monotonic() > until:
                return found.problems
            await asyncio.sleep(AGAIN_S)
    finally:
        await database.close()


def _metrics(state: Path) -> Iterator[Finding]:
    """Of a running system, where its processes tell how they do."""
    found = places(state) if is_held(state) else {}
    if found:
        told = ", ".join(f"{office} http://{place}/metrics" for office, place in found.items())
        yield Finding(what="metrics", found=told)


def _configured(state: Path) -> Api:
    """Raises ValueError or OSError, naming the file."""
    file = folders.config_file(state)
    try:
        table = tomllib.loads(file.read_text())
        return msgspec.convert(table.get("api", {}), Api, dec_hook=lambda kind, text: kind(text))
    except (FileNotFoundError, NotADirectoryError):
        return Api()
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{file}: {error}") from error


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    for place in (folder, *folder.parents):
        try:
            place.lstat()
        except OSError:
            continue
        return place
    return Path("/")


def _part(what: str, look: Callable[[], str], cure: str) -> Finding:
    try:
        return Finding(what=what, found=look())
    except (ColonnadeError, OSError, ImportError) as error:
        return Finding(what=what, found=str(error), cure=cure)


def _haproxy() -> str:
    from colonnade.runtime.haproxy_binary import find_haproxy, version_of

    binary = find_haproxy("")
    return f"{version_of(binary)} ({binary})"


def _postgres() -> str:
    from colonnade.store.postgres.embedded import binaries

    return _version(binaries() / "postgres")


def _version(binary: Path) -> str:
    said = subprocess.run(
        [str(binary), "--version"], capture_output=True, text=True, timeout=CHECK_S_MAX, check=True
    )
    return said.stdout.strip()

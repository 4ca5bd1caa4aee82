# SPDX-License-Identifier: Apache-2.0
"""Who each process of a running system is on this machine, and what it may."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import folders, leftovers
from colonnade.cli.local.offices import NETWORK_RIGHTS, of_office
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.runtime import host_ids
from colonnade.runtime.config import read_config

IS_ROOT = os.geteuid() == 0
NUMBERS = {  # linux/capability.h
    **{"chown": 0, "kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8},
    **{"net_admin": 12, "net_raw": 13, "sys_ptrace": 19, "sys_admin": 21, "setfcap": 31},
}
AGENT_MAY = sum(1 << number for number in (8, 10, 12, 13, 21))
# Those who wait for others, enter namespaces or reap orphans: they hear nobody.
STARTERS = {"sh", "unshare", "nsenter", "setpriv", "sleep"}


@pytest.fixture
async def system() -> AsyncIterator[System]:
    """With two hosts, and a load balancer that an amphora serves."""
    async with running() as made, Rest(made.endpoint) as rest, Hosts(made.state) as hosts:
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        yield made


def words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def role_of(words: list[str]) -> str:
    """What a process is for: an office, or a part of an amphora, "" for one that starts others."""
    program = Path(words[0]).name
    if program == "haproxy" or "agent" in program:
        return "haproxy"
    if program.startswith("postgres"):
        return "database"
    if program.startswith("python") and "-m" in words:
        module = words[words.index("-m") + 1]
        return words[words.index("-m") + 2] if module == "colonnade" else module
    return "" if program in STARTERS else program


def powers(status: dict[str, str], *names: str) -> set[int]:
    return {int(status[name], 16) for name in names}


async def test_each_process_is_nobody_with_no_more_rights_than_it_names(system: System) -> None:
    ids = host_ids.of(system.state)
    seen: dict[str, list[int]] = {}
    for pid in leftovers.family(system.mark):
        role, status = role_of(words_of(pid)), status_of(pid)
        users = {int(word) for word in status["Uid"].split()}
        seen.setdefault(role, []).append(pid)
        if role in ("up", ""):
            continue
        assert status["NoNewPrivs"] == "1", role
        if role in (*host_ids.OFFICES, "colonnade.cli.lab.http_tool"):
            assert powers(status, "CapEff", "CapPrm", "CapInh", "CapAmb") == {0}, role
        if role in ("controller", "health", "haproxy") or (ids and role != "network"):
            assert powers(status, "CapBnd") <= {0, 1 << 10, AGENT_MAY}, role
        if role == "network":
            assert powers(status, "CapBnd") == {sum(1 << NUMBERS[one] for one in NETWORK_RIGHTS)}
        elif ids is not None and role != "colonnade.cli.lab.http_tool":
            amphora = ids.first + host_ids.AMPHORAE
            if role in host_ids.OFFICES:
                assert users == {ids.office(role)}, role
            else:
                assert amphora <= min(users) <= max(users) < ids.first + host_ids.BLOCK, role
    # The database is here, so nobody is led to one elsewhere.
    wanted = {"up", "network", "haproxy", *host_ids.OFFICES} - {"relay"}
    assert set(seen) - {""} == wanted | {"colonnade.agent", "colonnade.cli.lab.http_tool"}


TRY = """
import os, sys
for path in sys.argv[1:]:
    try:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            open(path, "rb").read(1)
        print(path)
    except OSError:
        pass
for path in ("/etc", *(os.path.dirname(path) for path in sys.argv[1:])):
    try:
        open(os.path.join(path, "was-here"), "w").close()
        print("wrote in", path)
    except OSError:
        pass
"""


@pytest.mark.skipif(not IS_ROOT, reason="for an ordinary user every process is that user")
async def test_an_office_reads_its_own_keys_and_no_others(system: System) -> None:
    file = folders.config_file(system.state)
    config = read_config(file)
    pki = config.pki_dir
    shared = {pki / "ca.pem", pki / "master.key", file}
    own = {
        "api": {pki / "api.pem"},
        "health": {pki / "health.pem"},
        "notifier": {pki / "notifier.pem"},
        "controller": {pki / "controller.pem", pki / "ca-key.pem"},
    }
    closed = {pki / "network.pem", pki / "supervisor.pem", Path("/etc/shadow"), Path("/root")}
    closed |= {system.state / name for name in ("postgres", "logs", "network", "lock")}
    closed |= {config.run_dir / "lab", config.run_dir / "db"}
    every = sorted({path for paths in (*own.values(), shared, closed) for path in paths})
    for office, keys in own.items():
        program = [sys.executable, "-c", TRY, *(str(path) for path in every)]
        argv = of_office(office, program, config, file)
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        read = {Path(line) for line in said.decode().splitlines()}
        expected = keys | shared
        covered = {path for path in read if path == Path("/root")}  # an empty one, if anything
        assert read - covered == expected, office

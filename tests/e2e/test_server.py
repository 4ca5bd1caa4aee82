# SPDX-License-Identifier: Apache-2.0
"""One server: the commands of docs/install.md, as they are printed, on a machine with systemd; and
amphorae that serve on while everything else is restarted, killed, hung and stopped.

Only three things differ from a reader's: the environment is this one, so it is not installed; the
token is the one that `init` printed; and the machine is one of namespaces.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import colonnade
from colonnade.cli.lab.visits import Visits
from colonnade.cli.waiting import until
from tests import typed_commands
from tests.systemd_machine import Machine, machine
from tests.typed_commands import blocks

RATE = 50.0
CONTROL_PLANE = ("api", "controller", "health", "notifier", "network", "database")
HANGS_S = 3
DROP_IN = f"[Service]\nWatchdogSec={HANGS_S}\n"


def typed(made: Machine, heading: str, token: str = "") -> str:
    return typed_commands.typed(made, "".join(blocks("docs/install.md", heading)), token)


@pytest.fixture
def server() -> Iterator[Machine]:
    with machine() as made:
        yield made


class Server:
    """A machine on which a load balancer `web` serves."""

    def __init__(self, made: Machine, token: str) -> None:
        self.made = made
        self._env = {"COLONNADE_TOKEN": token}

    def ask(self, *words: str) -> str:
        return self.made.run(f"{sys.prefix}/bin/colonnade", *words, env=self._env)

    def amphora(self) -> str:
        """The one that serves."""
        (found,) = json.loads(self.ask("amphora", "list", "--lb", "web", "--json"))
        return str(found["id"])

    def release(self) -> str:
        return self.ask("--version").split()[1]

    async def put_newer_release(self) -> None:
        """Replace the program on the disk, as pip does, while all of it runs."""
        file = Path(colonnade.__file__)
        line = 's/^__version__ = .*/__version__ = "99.0"/'
        await asyncio.to_thread(self.made.run, "sed", "-i", line, str(file))

    def metrics(self) -> list[str]:
        """What each process of the four answers on the loopback of the machine."""
        read = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:%d/metrics').read())"
        places = json.loads(self.made.run("cat", "/var/lib/colonnade/metrics.json"))
        ports = [int(one["targets"][0].partition(":")[2]) for one in places]
        assert len(ports) >= 4
        return [self.made.run(sys.executable, "-c", read % port) for port in ports]

    async def unit(self, *words: str) -> None:
        await asyncio.to_thread(self.made.run, "systemctl", *words)

    async def restarts(self, name: str) -> int:
        (found,) = await asyncio.to_thread(self.made.show, "NRestarts", name)
        return int(found)

    async def all_up(self) -> None:
        async def are() -> bool:
            words = [f"colonnade-{name}" for name in CONTROL_PLANE]
            said = await asyncio.to_thread(self.made.show, "ActiveState", *words)
            return set(said) == {"active"}

        await until(are, within_s=60, what="every unit to be active", pause_s=0.3)


async def test_amphorae_serve_on_while_everything_else_is_restarted(server: Machine) -> None:
    said = typed(server, "Init")
    (token,) = re.findall(r"COLONNADE_TOKEN=(col_\S+)", said)
    typed(server, "Start", token)
    assert "pong" in typed(server, "A load balancer", token)
    one = Server(server, token)
    assert "written" not in one.ask("init")
    assert all("process_start_time_seconds" in text for text in one.metrics())
    before = one.amphora()
    async with Visits(server.enter(), "http://203.0.113.3/ping", rate=RATE) as visits:
        await visits.first_ok(since=0.0)
        await one.put_newer_release()
        await asyncio.to_thread(typed, server, "Restart, stop, upgrade", token)
        await one.all_up()
        assert one.release() == "99.0"
        for name in CONTROL_PLANE:
            await one.unit("kill", "--signal=KILL", f"colonnade-{name}")
        await one.all_up()
        await hung(one, "health")
        await one.unit("start", "colonnade-renew.service")
        await asyncio.to_thread(one.ask, "lb", "set", "web", "--description", "after", "--wait")
        since = time.time()
        await visits.first_ok(since=since + 1.0)
        assert visits.failed() == []
        assert len(visits.all) > 5 * RATE
        assert one.amphora() == before
        assert await one.restarts("colonnade.lab") == 0
        # Only this ends amphorae, as a boot of the machine does. They are back by themselves.
        await one.unit("kill", "--kill-who=main", "--signal=KILL", "colonnade.lab")
        await visits.first_ok(since=time.time() + 1.0, within_s=120, what="it to be back")
        assert await one.restarts("colonnade.lab") == 1
        assert one.amphora() == before
    await one.all_up()
    typed(server, "Look", token)
    typed(server, "Uninstall", token)
    assert left(server) == []


async def hung(one: Server, name: str) -> None:
    """A process that does not turn is noticed by systemd, and replaced."""
    unit = f"colonnade-{name}"
    folder = f"/etc/systemd/system/{unit}.service.d"
    script = f"mkdir {folder}; printf '{DROP_IN}' >{folder}/test.conf; systemctl daemon-reload"
    await asyncio.to_thread(one.made.run, "sh", "-c", script)
    await one.unit("restart", unit)
    before = await one.restarts(unit)
    await one.unit("kill", "--signal=STOP", unit)

    async def is_replaced() -> bool:
        return await one.restarts(unit) > before

    await until(is_replaced, within_s=60, what="the hanging process to end", pause_s=0.3)
    await asyncio.to_thread(one.made.run, "rm", "-r", folder)
    await one.all_up()


def left(server: Machine) -> list[str]:
    """What is there still that `init` or its units made."""
    looks = (
        "ls -d /etc/colonnade /var/lib/colonnade /run/colonnade /etc/sysusers.d/colonnade.conf",
        "ls /etc/systemd/system | grep colonnade",
        "getent passwd | grep ^colonnade",
        "getent group | grep ^colonnade",
        "ps -eo args | grep -E 'pytho[n]|hapro[x]y|postgre[s]|lab-ini[t]'",
        "ip -o link | grep colonnade",
    )
    return server.run("sh", "-c", "; ".join((*looks, "true"))).splitlines()

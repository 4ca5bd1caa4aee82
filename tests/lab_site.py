# SPDX-License-Identifier: Apache-2.0
"""A lab with a network daemon, in a temporary folder, for tests that need real packets.

Its amphorae run a placeholder instead of the agent. Everything it makes is inside the lab and
the folder, so ending both leaves nothing.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from colonnade.cli.local.offices import of_network
from colonnade.domain.errors import Broken
from colonnade.drivers.compute.namespaces.client import ComputeClient
from colonnade.drivers.network.namespaces.client import LabClient, NetworkClient
from colonnade.drivers.network.namespaces.lab import Lab
from colonnade.drivers.network.namespaces.processes import child_of
from colonnade.drivers.network_daemon.daemon import url_of
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.config import Config

OFFICES = ("network", "supervisor", "controller", "api", "health", "amphora")
PLACEHOLDER = (sys.executable, "-c", "import time; time.sleep(3600)")
DAEMON = """
import asyncio, json, sys
from pathlib import Path
from colonnade.drivers.network_daemon.daemon import run
from colonnade.runtime.config import Config
folder, agent = Path(sys.argv[1]), json.loads(sys.argv[2])
config = Config(state_dir=folder / "state", run_dir=folder / "run", database_url="")
asyncio.run(run(config, agent))
"""
START_S = 60.0  # a daemon takes a second of processor time


class Site:
    """A running lab and daemon. Most methods start a process and wait for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = Config(
            state_dir=folder / "state", run_dir=folder / "run", database_url="", network_url=""
        )
        self.lab = Lab(self.config)
        self.daemon: subprocess.Popen[bytes] | None = None

    async def begin(self) -> None:
        pki = self.config.pki_dir
        if not pki.exists():
            pki.mkdir(parents=True, mode=0o700)
            ca = Authority.new()
            (pki / "ca.pem").write_text(ca.certificate)
            for office in OFFICES:
                (pki / f"{office}.pem").write_text(Authority(ca).issue(office, days=1).pem)
        await self.lab.start()
        self.start_daemon()

    async def end(self) -> None:
        await self.lab.stop()
        if self.daemon is not None:
            self.daemon.wait(START_S)

    def start_daemon(self) -> None:
        """With the rights that it has in earnest, and no more."""
        argv = [sys.executable, "-c", DAEMON, str(self.folder), json.dumps(PLACEHOLDER)]
        place = self.config.run_dir / "network.sock"
        place.unlink(missing_ok=True)  # a daemon that was killed left it
        with (self.folder / "daemon.log").open("ab") as log:
            self.daemon = subprocess.Popen(self.lab.enter(of_network(argv)), stderr=log)
        until(lambda: _listens(place), START_S, "the daemon to listen")

    def end_daemon(self, number: signal.Signals = signal.SIGTERM) -> None:
        """KILL meets the daemon itself, not the one that entered the lab for it."""
        assert self.daemon is not None
        inner = child_of(self.daemon.pid)
        assert inner is not None
        os.kill(inner, number)
        self.daemon.wait(START_S)

    def credentials(self, office: str) -> tuple[str, Path, Path]:
        pki = self.config.pki_dir
        return url_of(self.config), pki / f"{office}.pem", pki / "ca.pem"

    def networks(self, office: str = "controller") -> NetworkClient:
        return NetworkClient(*self.credentials(office))

    def compute(self, office: str = "controller") -> ComputeClient:
        return ComputeClient(*self.credentials(office))

    def bench(self, office: str = "supervisor") -> LabClient:
        return LabClient(*self.credentials(office))

    def run(self, *argv: str, inside: str | None = None) -> str:
        """What the command says inside the lab. Raises when it fails."""
        done = subprocess.run(
            self.lab.enter(argv, netns=inside),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def machine_pid(self, machine_id: str) -> int:
        """Process 1 of a machine, as the lab numbers it."""
        record = json.loads((self.lab.folder / "machines" / f"{machine_id}.json").read_bytes())
        return int(record["init"][0] if isinstance(record["init"], list) else record["init"]["pid"])

    def cut_power(self, machine_id: str) -> None:
        """End a machine at once, behind the daemon's back. Returns when it is dead."""
        pid = self.machine_pid(machine_id)
        self.run("sh", "-c", f"kill -KILL {pid}; while [ -d /proc/{pid} ]; do sleep 0.01; done")

    def run_in_traffic(self, amphora_id: str, *argv: str) -> str:
        """What the command says in an amphora's traffic namespace."""
        net = f"--net=/proc/{self.machine_pid(amphora_id)}/root/run/netns/traffic"
        return self.run("nsenter", net, "--", *argv)


@contextmanager
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    made = Site(folder)
    try:
        asyncio.run(made.begin())
        yield made
    finally:
        asyncio.run(made.end())
        shutil.rmtree(folder)


def why_impossible() -> str:
    """Why no lab can be made here, "" when one can: only the kernel's word counts."""
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    lab = Lab(Config(state_dir=folder / "state", run_dir=folder / "run", database_url=""))
    try:
        asyncio.run(lab.start())
    except Broken as error:
        return str(error)
    finally:
        asyncio.run(lab.stop())
        shutil.rmtree(folder)
    return ""


def _listens(path: Path) -> bool:
    """The path is there when it is bound, which is before anybody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def until(fact: Callable[[], object], within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < deadline, f"waited {within_s} s for {what}"
        time.sleep(0.02)

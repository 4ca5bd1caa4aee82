# SPDX-License-Identifier: Apache-2.0
"""The lab itself: made by root and by an ordinary user, entered, ended in every way, traceless."""

# ruff: noqa: ASYNC220, ASYNC221 -- nothing else runs in these tests' event loops

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from colonnade.cli.local import leftovers
from colonnade.domain.errors import NotFound
from colonnade.drivers.network.namespaces.host_route import LINK
from colonnade.drivers.network.namespaces.lab import Lab, end_leftovers
from colonnade.drivers.network.namespaces.processes import child_of, name_of
from colonnade.runtime.config import Config
from tests.lab_site import site, until, why_impossible

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534
STARTER = """
import asyncio, json, sys
from pathlib import Path
from colonnade.drivers.network.namespaces.lab import Lab
from colonnade.runtime.config import Config
async def main():
    folder = Path(sys.argv[1])
    lab = Lab(Config(state_dir=folder / "state", run_dir=folder / "run", database_url=""))
    await lab.start()
    print(json.dumps([lab.init.pid, lab.enter(["id", "-u"], netns="control")]), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    if reason := why_impossible():
        pytest.skip(reason)
    made = Path(tempfile.mkdtemp(prefix="lab-"))
    yield made
    shutil.rmtree(made)


def configured(folder: Path) -> Config:
    return Config(state_dir=folder / "state", run_dir=folder / "run", database_url="")


KINDS = ("net", "mnt")


class Namespaces:
    """The network and mount namespaces that processes are in, but for our own. They are held
    open: the kernel gives the number of one that is gone to the next of anybody at once."""

    def __init__(self, pids: Iterable[int]) -> None:
        own = {Path(f"/proc/self/ns/{kind}").stat().st_ino for kind in KINDS}
        self._held: dict[int, int] = {}
        for pid in pids:
            for kind in KINDS:
                with contextlib.suppress(OSError):  # the process has just ended
                    held = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
                    number = os.fstat(held).st_ino
                    if number in own or number in self._held:
                        os.close(held)
                    else:
                        self._held[number] = held

    def __len__(self) -> int:
        return len(self._held)

    def are_empty(self) -> bool:
        """Whether no process of the machine is in any of them; then they are let go."""
        for path in Path("/proc").glob("[0-9]*/ns/*"):
            with contextlib.suppress(OSError):
                if path.name in KINDS and path.stat().st_ino in self._held:
                    return False
        for held in self._held.values():
            os.close(held)
        self._held.clear()
        return True


def links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def namespaces_of(pid: int) -> set[str]:
    return {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in KINDS}


def start_elsewhere(folder: Path, *before: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*before, sys.executable, "-c", STARTER, str(folder)], stdout=subprocess.PIPE, text=True
    )


def read_start(starter: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    assert starter.stdout is not None
    pid, argv = json.loads(starter.stdout.readline())
    return pid, argv


async def test_a_stopped_lab_leaves_nothing(folder: Path) -> None:
    before = links(), Path("/proc/self/mounts").read_text()
    lab = Lab(configured(folder))
    await lab.start()
    inside = Namespaces([lab.init.pid])
    assert len(inside) == len(KINDS)
    sleeper = subprocess.Popen(lab.enter(["sleep", "60"]))
    await lab.stop()
    assert sleeper.wait(5) != 0
    until(inside.are_empty, 5, "the lab's namespaces to be empty")
    assert (links(), Path("/proc/self/mounts").read_text()) == before
    assert list((folder / "run").iterdir()) == []


async def test_a_lab_can_be_started_again_in_the_same_place(folder: Path) -> None:
    for _ in range(2):
        lab = Lab(configured(folder))
        await lab.start()
        await lab.stop()


async def test_commands_run_inside_with_their_exit_code_and_signals(folder: Path) -> None:
    lab = Lab(configured(folder))
    await lab.start()
    try:
        assert Lab.running(configured(folder)).init == lab.init
        assert subprocess.run(lab.enter(["sh", "-c", "exit 7"]), check=False).returncode == 7
        said = subprocess.run(
            lab.enter(["cat"]), input="passed on", capture_output=True, text=True, check=True
        )
        assert said.stdout == "passed on"
        trap = 'trap "echo told; exit 3" TERM; echo up; while :; do sleep 0.05; done'
        child = subprocess.Popen(
            lab.enter(["sh", "-c", trap], netns="control"), stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        child.send_signal(signal.SIGTERM)
        assert child.stdout.readline() == "told\n"
        assert child.wait(5) == 3
        child.stdout.close()
    finally:
        await lab.stop()
    with pytest.raises(NotFound):
        Lab.running(configured(folder))


async def test_processes_without_rights_have_none(folder: Path) -> None:
    lab = Lab(configured(folder))
    await lab.start()
    try:
        argv = lab.enter(["cat", "/proc/self/status"], netns="control", with_rights=False)
        status = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        sets = [line.split()[1] for line in status.splitlines() if line.startswith("Cap")]
        assert len(sets) == 5
        assert set(sets) == {"0" * 16}
    finally:
        await lab.stop()


def test_the_lab_ends_with_a_starter_that_is_killed(folder: Path) -> None:
    starter = start_elsewhere(folder)
    init, argv = read_start(starter)
    inside = Namespaces([init])
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "0\n"
    starter.kill()
    starter.communicate()
    until(lambda: name_of(init) is None, 5, "the lab to end")
    until(inside.are_empty, 5, "the lab's namespaces to be empty")
    asyncio.run(end_leftovers(folder / "run"))
    assert list((folder / "run").iterdir()) == []


async def test_a_lab_left_by_an_earlier_run_is_ended(folder: Path) -> None:
    starter = start_elsewhere(folder)
    init, _ = read_start(starter)
    try:
        assert await end_leftovers(folder / "run")
        assert name_of(init) is None
        assert not await end_leftovers(folder / "run")
        with pytest.raises(NotFound):
            Lab.running(configured(folder))
    finally:
        starter.kill()
        starter.communicate()


async def test_a_record_of_another_process_ends_nobody(folder: Path) -> None:
    """The pid of a lab long gone may belong to anybody by now."""
    bystander = subprocess.Popen(["sleep", "60"])
    record = {
        "starter": {"pid": bystander.pid, "started": 1},
        "init": {"pid": bystander.pid, "started": 1},
        "has_user_namespace": False,
    }
    (folder / "run").mkdir()
    (folder / "run" / "lab.json").write_text(json.dumps(record))
    assert not await end_leftovers(folder / "run")
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_all_that_ran_in_a_lab_ends_with_it(folder: Path) -> None:
    with site() as made:
        assert made.daemon is not None
        inner = child_of(made.daemon.pid)
        assert inner is not None
        ours = {made.lab.init.pid: "", made.daemon.pid: ""}
        inside = Namespaces(leftovers.with_descendants(ours))
        assert len(inside) >= 4  # the lab and the host `outside`, net and mnt each
        os.kill(made.lab.init.pid, signal.SIGKILL)
        until(lambda: name_of(inner) is None, 5, "the daemon to end")
        until(inside.are_empty, 5, "all namespaces to be empty")


def readable_python() -> str:
    """A Python that an ordinary user may start here, "" when there is none."""
    for found in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        entry = [*as_nobody(), "env", f"PYTHONPATH={python_path()}"]
        argv = [*entry, found, "-c", "import colonnade, msgspec"]
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return found
    return ""


def python_path() -> str:
    return f"{REPOSITORY}:{sysconfig.get_path('purelib')}"


def as_nobody() -> list[str]:
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return ["setpriv", *ids, "--bounding-set=-all", "--inh-caps=-all", "--"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests here run as an ordinary user")
def test_an_ordinary_user_gets_a_lab_of_their_own(folder: Path) -> None:
    python = readable_python()
    if not python:
        pytest.skip("the Python of this test cannot be read by another user")
    os.chown(folder, NOBODY, NOBODY)
    entry = [*as_nobody(), "env", f"PYTHONPATH={python_path()}"]
    starter = subprocess.Popen(
        [*entry, python, "-c", STARTER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        init, argv = read_start(starter)
        assert Path(f"/proc/{init}").stat().st_uid == NOBODY
        inside = namespaces_of_user(init)
        said = subprocess.run([*as_nobody(), *argv], capture_output=True, text=True, check=False)
        assert (said.stdout, said.stderr) == ("0\n", "")
    finally:
        starter.kill()
        starter.communicate()
    until(lambda: name_of(init) is None, 5, "the lab to end")
    assert inside != str(Path("/proc/self/ns/user").readlink())


def namespaces_of_user(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/user").readlink())


ROUTED = """
import asyncio, json, os, sys
from pathlib import Path
from pyroute2 import IPRoute
from colonnade.domain.errors import Conflict
from colonnade.drivers.network.namespaces.host_route import host_route
from colonnade.drivers.network.namespaces.lab import Lab
from colonnade.runtime.config import Config

def names():
    with IPRoute() as route:
        return sorted(link.get("ifname") for link in route.get_links())

async def main():
    folder = Path(sys.argv[1])
    lab = Lab.running(Config(state_dir=folder / "state", run_dir=folder / "run", database_url=""))
    before = await asyncio.to_thread(names)
    async with host_route(lab):
        during = await asyncio.to_thread(names)
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection("203.0.113.2", 80)
        writer.close()
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection("2001:db8:1::2", 80)
        writer.close()
        try:
            async with host_route(lab):
                again = "made"
        except Conflict:
            again = "refused"
    after = await asyncio.to_thread(names)
    print(json.dumps([before, during, again, after]))
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a route of the host is root's")
def test_a_host_reaches_the_public_network_while_the_route_is_there(folder: Path) -> None:
    """The host is a network namespace of its own here."""
    with site() as made:
        argv = [sys.executable, "-m", "http.server", "80", "--bind", "::"]
        server = subprocess.Popen(
            made.lab.enter(argv, netns="outside"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        probe = "import socket; socket.create_connection(('203.0.113.2', 80), 1)"

        def listens() -> bool:
            command = made.lab.enter([sys.executable, "-c", probe], netns="outside")
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

        until(listens, 10, "the web server")
        done = subprocess.run(
            ["unshare", "--net", "--", sys.executable, "-c", ROUTED, str(made.folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        before, during, again, after = json.loads(done.stdout)
        server.terminate()
        server.wait(5)
    assert set(during) - set(before) == {LINK}
    assert (again, after) == ("refused", before)


FORBIDDEN = 'echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"'


def test_a_kernel_that_forbids_namespaces_is_explained(folder: Path) -> None:
    """The limit is set in a user namespace of its own, so nobody else meets it."""
    entry = ["unshare", "--user", "--map-root-user", "--", "sh", "-c", FORBIDDEN, "sh"]
    done = subprocess.run(
        [*entry, sys.executable, "-c", STARTER, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "sysctl -w user.max_net_namespaces=" in done.stderr

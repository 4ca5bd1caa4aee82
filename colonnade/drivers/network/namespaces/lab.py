# SPDX-License-Identifier: Apache-2.0
"""The lab: namespaces in which networks, amphorae and hosts live, apart from the machine's own.

Invariant: the lab is its process 1. When that ends, the kernel ends every process in it, and with
them all namespaces, links and mounts; nothing has to be undone by hand. It ends with whoever
started it, unless it is one that outlives its starter: that one is found again by its record, and
ends when it is told to. An ordinary user gets the same in a user namespace. It does not know what
runs inside.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from colonnade.domain.errors import Broken, NotFound
from colonnade.drivers.network.namespaces import groups
from colonnade.drivers.network.namespaces.machines import START_S_MAX, Machine
from colonnade.drivers.network.namespaces.processes import (
    ProcessName,
    child_of,
    gone,
    kill,
    name_of,
)
from colonnade.runtime.config import Config
from colonnade.runtime.readiness import readable

END_S_MAX = 5.0
RECORD = "lab.json"
SOCKET = "network.sock"  # below run_dir: where the network daemon of the lab listens
HOST_NETWORK = "COLONNADE_HOST_NETWORK_FD"  # names an open file for the daemon: the machine's own
OUTSIDE = "outside"  # the host that is always there, on the public network
PRIVATE_FOLDER = "lab"  # below run_dir: a tmpfs, seen from inside only
INIT = Path(__file__).with_name("lab-init.sh")
PASS_ON = Path(__file__).with_name("pass-on.sh")
TIED = ("setpriv", "--pdeathsig=TERM", "--")
TIED_OUTRIGHT = ("setpriv", "--pdeathsig=KILL")
WITHOUT_RIGHTS = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
ANSWERS = {
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "1"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
    "/proc/sys/user/max_user_namespaces": ("0", "10000"),
    "/proc/sys/user/max_net_namespaces": ("0", "10000"),
}


class LabRecord(msgspec.Struct, frozen=True):
    """What is needed to find the lab again. `init` is its process 1, seen from outside."""

    starter: ProcessName
    init: ProcessName
    has_user_namespace: bool


class Lab:
    """Start it, or find the one that runs for this configuration.

    `outlives`: it does not end with its starter, and a start finds one that runs. `held`: open
    files that stay open as long as it is there."""

    def __init__(self, config: Config, *, outlives: bool = False, held: Sequence[int] = ()) -> None:
        self._run_dir = config.run_dir
        self._outlives = outlives
        self._held = held
        self._is_left = False
        self._record: LabRecord | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @classmethod
    def running(cls, config: Config) -> "Lab":
        """The lab that another process started. Raises NotFound when none runs."""
        lab = cls(config)
        if not lab._find():
            raise NotFound("nothing runs here: start it with `colonnade up`")
        return lab

    def _find(self) -> bool:
        record = _read_record(self._run_dir)
        if record is None or not record.init.is_alive:
            return False
        self._record = record
        return True

    async def start(self) -> None:
        """Call it from the main thread: a lab that does not outlive its starter ends with that
        thread. What an earlier run left is found again by one that does, and else ended.

        Raises Broken, saying what to allow, when the kernel forbids namespaces."""
        if self._outlives and self._find():
            self.leave()
            return
        await end_leftovers(self._run_dir)
        folder = self._run_dir / PRIVATE_FOLDER
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with_user = os.geteuid() != 0
        tied = () if self._outlives else TIED_OUTRIGHT
        child = _spawn(folder, with_user, tied, self._held)
        self._child = child
        assert child.stdout is not None
        assert child.stderr is not None
        with child.stdout as pipe:
            try:
                async with asyncio.timeout(START_S_MAX):
                    await readable(pipe.fileno())
            except TimeoutError:
                child.kill()
            said = os.read(pipe.fileno(), 64)
        inner = child_of(child.pid) if said == b"ready\n" else None
        init = name_of(inner) if inner is not None else None
        starter = name_of(child.pid)
        if init is None or starter is None:
            raise Broken(_explain(_last_words(child)))
        child.stderr.close()
        groups.prepare(groups.name_of(self._run_dir))
        self._record = LabRecord(starter, init, with_user)
        path = self._run_dir / RECORD
        path.write_bytes(msgspec.json.encode(self._record))

    @property
    def init(self) -> ProcessName:
        """Process 1 of the lab, as its starter sees it: await `gone(lab.init)` to watch it."""
        assert self._record is not None, "the lab was not started"
        return self._record.init

    @property
    def folder(self) -> Path:
        """The lab's private folder, as seen from outside."""
        return Path(f"/proc/{self.init.pid}/root{self._run_dir / PRIVATE_FOLDER}")

    @property
    def starter(self) -> ProcessName:
        """The process that ends with the lab, and the lab with it."""
        assert self._record is not None, "the lab was not started"
        return self._record.starter

    def leave(self) -> None:
        """From now on `stop` lets go of it only. For one that outlives its starter."""
        self._is_left = self._outlives

    async def stop(self) -> None:
        """End all that is in the lab, at once. Not running, or left: nothing to do."""
        if self._is_left:
            return
        if self._record is not None:
            await _end(self._record.init)
        if self._child is not None:
            self._child.kill()
            await asyncio.to_thread(self._child.wait)
            self._child = None
        _forget(self._run_dir)

    def enter(
        self,
        argv: Sequence[str],
        *,
        netns: str | None = None,
        with_rights: bool = True,
        interactive: bool = False,
    ) -> list[str]:
        """The command line that runs `argv` inside the lab, in the same working directory.

        `netns`: "control", "router" or the name of a host; None is the fabric. TERM is passed
        on to `argv`, and INT as TERM, unless it is `interactive` and gets them from its
        terminal. Killed outright, it still leaves `argv` a TERM."""
        record = self._record
        assert record is not None, "the lab was not started"
        user = ("--user", "--preserve-credentials") if record.has_user_namespace else ()
        inside = ["nsenter", f"--target={record.init.pid}", *user, "--mount", "--pid"]
        place = list(TIED)
        if netns in ("control", "router"):
            inside += [f"--net={self.folder / 'netns' / netns}"]
        else:
            inside += ["--net"]
        if netns not in ("control", "router", None):
            place += _host_entry(self.folder, netns)
        rights = () if with_rights else (*WITHOUT_RIGHTS, "--pdeathsig=TERM", "--")
        between = ["--"] if interactive else ["--no-fork", "--", "sh", str(PASS_ON)]
        return [*inside, f"--wdns={Path.cwd()}", *between, *place, *rights, *argv]


async def end_leftovers(run_dir: Path) -> bool:
    """End the lab whose starter did not. True when there was one. Waits until it is gone."""
    record = _read_record(run_dir)
    if record is None:
        return False
    was_there = record.init.is_alive or record.starter.is_alive
    for process in (record.init, record.starter):
        await _end(process)
    _forget(run_dir)
    return was_there


async def _end(process: ProcessName) -> None:
    """Kill it and wait. Corpses that nobody collects, as in a container whose process 1 does
    not, keep a namespace's init from ending but hold nothing else: not waited for any longer."""
    kill(process)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_S_MAX):
            await gone(process)


def _spawn(
    folder: Path, with_user: bool, tied: Sequence[str], held: Sequence[int]
) -> "subprocess.Popen[bytes]":
    kinds = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if with_user:
        kinds = ["--user", "--map-root-user", *kinds]
    try:
        return subprocess.Popen(
            [*tied, "unshare", *kinds, "sh", str(INIT), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=held,
        )
    except FileNotFoundError as error:
        raise Broken("`setpriv` or `unshare` is missing: install the package util-linux") from error


def _host_entry(folder: Path, name: str) -> list[str]:
    path = folder / "machines" / f"host-{name}.json"
    if not path.exists():
        raise NotFound(f"there is no lab host {name}")
    host = msgspec.json.decode(path.read_bytes(), type=Machine)
    target = f"--target={host.init.pid}"
    where = f"--wdns={Path.cwd()}"
    return ["nsenter", target, "--net", "--mount", "--pid", where, "--", *TIED]


def _last_words(child: "subprocess.Popen[bytes]") -> str:
    child.kill()
    _, said = child.communicate()
    return said.decode(errors="replace").strip()[-500:]


def _explain(said: str) -> str:
    """Why the kernel would not, and what to allow."""
    what = what_to_allow()
    return f"the kernel forbids the namespaces that the lab is made of; {what}. It said: {said}"


def what_to_allow() -> str:
    """What stands in the way of namespaces on this machine, as far as it can be told."""
    wrong = [
        f"sysctl -w {path.removeprefix('/proc/sys/').replace('/', '.')}={right}"
        for path, (bad, right) in ANSWERS.items()
        if Path(path).exists() and Path(path).read_text().strip() == bad
    ]
    if wrong:
        return "allow it as root with: " + " && ".join(wrong)
    if os.geteuid() == 0:
        return "root here lacks CAP_SYS_ADMIN or CAP_NET_ADMIN, as in a container: allow those"
    return (
        "allow user namespaces and mounts in them (in a container: seccomp, AppArmor, "
        "a /proc without masks), or run as root"
    )


def _read_record(run_dir: Path) -> LabRecord | None:
    path = run_dir / RECORD
    try:
        return msgspec.json.decode(path.read_bytes(), type=LabRecord)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        sys.stderr.write(f"{path} cannot be read and is ignored\n")
        return None


def is_recorded(run_dir: Path) -> bool:
    """Whether a lab was left there."""
    return (run_dir / RECORD).exists()


def _forget(run_dir: Path) -> None:
    groups.remove_all(groups.name_of(run_dir))
    (run_dir / RECORD).unlink(missing_ok=True)
    folder = run_dir / PRIVATE_FOLDER
    if folder.is_dir():
        folder.rmdir()

# SPDX-License-Identifier: Apache-2.0
"""The haproxy process: check, start, adopt, reload, stop, and notice when it ends.

Invariant: at most one master process runs; it outlives the agent, and a new agent adopts it. It
runs in the traffic namespace with no capability but to bind low ports. This module knows
neither bundles nor what haproxy serves.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.console import Console, Silent
from colonnade.agent.programs import run, words
from colonnade.agent.watched import Watched, send_signal

log = logging.getLogger(__name__)
START_S_MAX: Final = 20.0
CHECK_S_MAX: Final = 20.0
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_POWERS: Final = (
    "--no-new-privs",
    "--bounding-set=-all,+net_bind_service",
    "--inh-caps=-all",
)


class Haproxy:
    def __init__(
        self,
        binary: str,
        folder: Folder,
        traffic_namespace: Path,
        within: Sequence[str] = (),
    ) -> None:
        self.binary = binary
        self._within = within
        self.console = Console(folder.master_socket)
        self.on_end: Callable[[], None] = lambda: None  # called when it ends unasked
        self._folder = folder
        self.namespace = traffic_namespace
        self._master: Watched | None = None
        self._serves = False  # the start is complete, and not only begun
        self.is_reloading = False

    @property
    def is_running(self) -> bool:
        return self._master is not None and self._serves

    @property
    def pid(self) -> int | None:
        """Of the master, while it serves."""
        return self._master.pid if self._master is not None and self._serves else None

    async def check(self, config: Path) -> str:
        """ "" when haproxy would take the file, else its words."""
        code, output = await run(
            *(*self._within, self.binary, "-c", "-f", str(config)), within_s=CHECK_S_MAX
        )
        return "" if code == 0 else words(output)

    async def version(self) -> str:
        _code, output = await run(self.binary, "-v", within_s=CHECK_S_MAX)
        parts = output.split()
        return parts[2] if len(parts) > 2 else "unknown"

    def adopt(self) -> bool:
        """Take over the master that an earlier agent started. False when there is none."""
        pid = _listener_of(self._folder.master_socket)
        if pid is None:
            return False
        self._master = Watched(pid, self._ended)
        self._serves = True
        return True

    async def start(self) -> str:
        """Start on the file in place. "" when it serves, else haproxy's words; then none runs."""
        assert self._master is None
        self._end_orphans()
        self.forget_output()
        with self._folder.output.open("ab") as output:
            child = subprocess.Popen(  # noqa: ASYNC220 - forks at once, is not waited for
                [
                    "nsenter",
                    f"--net={self.namespace}",
                    *self._within,
                    "setpriv",
                    *_POWERS,
                    *self._command(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._master = Watched(child.pid, self._ended, child)
        deadline = asyncio.get_running_loop().time() + START_S_MAX
        while asyncio.get_running_loop().time() < deadline:
            if self._master is None:
                return words(self._folder.output.read_text(errors="replace")) or "haproxy ended"
            try:
                if await self.console.workers():
                    self._serves = True
                    return ""
            except Silent:
                pass
            await asyncio.sleep(0.005)
        await self.stop()
        return f"haproxy did not start within {START_S_MAX:g} s"

    async def reload(self) -> str:
        """Load the file anew, without losing a connection. "" or haproxy's words."""
        self.forget_output()
        self.is_reloading = True
        try:
            answer = await self.console.reload()
        except Silent as error:
            return str(error)
        finally:
            self.is_reloading = False
        return answer and (words(self._folder.output.read_text(errors="replace")) or answer)

    async def stop(self) -> None:
        """End it now, with all connections."""
        master, self._master, self._serves = self._master, None, False
        if master is not None:
            await master.end()
        self._end_orphans()

    def kill(self) -> None:
        """End haproxy although it should run. `on_end` is called, as after any unexpected end."""
        if self._master is not None:
            self._master.kill()

    def states(self) -> set[str]:
        """The states of all threads of master and workers, as letters of proc_pid_stat(5)."""
        found = set()
        for process in self._family():
            for thread in process.glob("task/[0-9]*/stat"):
                with contextlib.suppress(OSError):
                    # The name before the bracket may itself hold brackets and spaces.
                    found.add(thread.read_text().rpartition(")")[2].split()[0])
        return found

    def forget_output(self) -> None:
        """Empty the file of haproxy's output, which grows as long as haproxy runs."""
        self._folder.output.touch(mode=0o600)
        os.truncate(self._folder.output, 0)

    def _command(self) -> list[str]:
        console = f"{self._folder.master_socket},level,admin,mode,600"
        return [self.binary, "-W", "-S", console, "-f", str(self._folder.config)]

    def _ended(self) -> None:
        served, self._master, self._serves = self._serves, None, False
        if served:
            self.on_end()

    def _end_orphans(self) -> None:
        """Workers whose master was killed would keep the listening sockets, unwatched."""
        for process in self._processes():
            send_signal(int(process.name), signal.SIGKILL)

    def _family(self) -> Iterator[Path]:
        """The folders of the master and its workers in /proc. Nobody looks at every process for it:
        many an haproxy of one amphora may be late, and each that is late is asked about."""
        if self._master is None:
            return
        master = Path(f"/proc/{self._master.pid}")
        try:
            children = (master / "task" / master.name / "children").read_text()
        except OSError:  # the kernel keeps no such list (CONFIG_PROC_CHILDREN): look at all
            yield from self._processes()
        else:
            yield master
            yield from (Path(f"/proc/{pid}") for pid in children.split())

    def _processes(self) -> Iterator[Path]:
        """The folders of master and workers in /proc, also of a master that is gone."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                ours = str(self._folder.master_socket) in (entry / "cmdline").read_text()
            except OSError:
                continue
            if ours and int(entry.name) != os.getpid():
                yield entry


def _listener_of(path: Path) -> int | None:
    """The process that listens on a unix socket, None when nobody does."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
        pid: int = _CREDENTIALS.unpack(
            probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )[0]
    return pid or None

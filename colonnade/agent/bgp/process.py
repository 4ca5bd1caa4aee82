# SPDX-License-Identifier: Apache-2.0
"""The BIRD process: check, start, adopt, reconfigure, stop, and what it says of its sessions.

Invariant: at most one runs; it outlives the agent, and a new agent adopts it. It runs in the
traffic namespace and may open sessions there; it changes no route of the amphora. When it ends, so
do its sessions, and routers lead here no more. It knows no bundle.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from pathlib import Path
from typing import Final

from colonnade.agent.folder import Folder, write
from colonnade.agent.programs import run, words
from colonnade.agent.watched import Watched, send_signal
from colonnade.runtime.system_programs import find_bird

log = logging.getLogger(__name__)
CHECK_S_MAX: Final = 10.0
ANSWER_S_MAX: Final = 1.0
OUTPUT_BYTES_MAX: Final = 64 * 1024
_POWERS: Final = (
    "--no-new-privs",
    "--bounding-set=-all,+net_admin,+net_raw,+net_bind_service",
    "--inh-caps=-all",
)


class Bird:
    def __init__(self, binary: str, folder: Folder, traffic_namespace: Path) -> None:
        found = find_bird(binary)
        self._binary = str(found) if found is not None else None
        self._enter = ("nsenter", f"--net={traffic_namespace}")
        self._config = folder.root / "bird.conf"
        self._candidate = folder.root / "bird.candidate"
        self._output = folder.root / "bird.out"
        self._socket = folder.root / "bird.sock"
        self._pid = folder.root / "bird.pid"
        self._process: Watched | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None

    async def check(self, text: str) -> str:
        """ "" when BIRD would take the file, else its words."""
        if self._binary is None:
            return "the amphora has no bird (Debian package bird2), which announces VIPs"
        write(self._candidate, text.encode())
        command = (self._binary, "-p", "-c", str(self._candidate))
        code, output = await run(*command, within_s=CHECK_S_MAX)
        return "" if code == 0 else words(output)

    def serve(self, text: str) -> None:
        """Run on this file, whatever ran before; sessions that are in both stay."""
        known = self._config.read_text() if self._config.exists() else ""
        if known != text:
            write(self._config, text.encode())
        if self._process is None:
            self.start()
        elif known != text:
            send_signal(self._process.pid, signal.SIGHUP)

    def adopt(self) -> bool:
        """Take over the one that an earlier agent started. False when there is none."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid.read_text())
            if str(self._config) in Path(f"/proc/{pid}/cmdline").read_text():
                self._process = Watched(pid, self._ended)
                return True
        return False

    def start(self) -> None:
        """Start on the file in place."""
        assert self._process is None
        assert self._binary is not None, "check comes first"
        files = ("-c", self._config, "-s", self._socket, "-P", self._pid)
        with self._output.open("wb") as output:
            child = subprocess.Popen(
                [*self._enter, "setpriv", *_POWERS, self._binary, "-f", *map(str, files)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._process = Watched(child.pid, self._ended, child)

    async def stop(self) -> None:
        """End it: routers are told, and lead here no more."""
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    async def established(self) -> frozenset[str]:
        """The names of the sessions that are."""
        said = ""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S_MAX):
                said = await self._ask("show protocols")
        # The first line of an answer begins with its code, and those after it with a space.
        rows = [line[5 if line[:1].isdigit() else 1 :].split() for line in said.splitlines()]
        return frozenset(row[0] for row in rows if row[1:2] == ["BGP"] and "Established" in row)

    async def _ask(self, question: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            await reader.readline()  # its greeting
            writer.write(f"{question}\n".encode())
            # A line of four digits and a space ends an answer; those before it have a hyphen.
            return (await reader.readuntil(b"\n0000 ")).decode()
        except asyncio.IncompleteReadError as ended:
            return ended.partial.decode()
        finally:
            writer.close()

    def forget_output(self) -> None:
        """Empty the file of its output when it has grown long."""
        with contextlib.suppress(OSError):
            if self._output.stat().st_size > OUTPUT_BYTES_MAX:
                os.truncate(self._output, 0)

    def _ended(self) -> None:
        if self._process is not None:
            log.error("bird ended")
        self._process = None

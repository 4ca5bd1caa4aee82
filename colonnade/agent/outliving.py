# SPDX-License-Identifier: Apache-2.0
"""A long-lived process in the traffic namespace that outlives the agent, on one file.

Invariant: at most one runs, and a new agent adopts it. One that was told to end is not started
again before it is to serve again, whoever looks after it meanwhile. It knows neither keepalived nor
BIRD.
"""

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from colonnade.agent.folder import Folder, write
from colonnade.agent.watched import Watched, send_signal

log = logging.getLogger(__name__)
OUTPUT_BYTES_MAX: Final = 64 * 1024


class Outliving:
    """`name`: of the program, and of its files in the folder."""

    def __init__(self, name: str, folder: Folder, traffic_namespace: Path) -> None:
        self.is_wanted = True
        self.config = folder.root / f"{name}.conf"
        self.candidate = folder.root / f"{name}.candidate"
        self.pid_file = folder.root / f"{name}.pid"
        self.enter: Final = ("nsenter", f"--net={traffic_namespace}")
        self._name = name
        self._output = folder.root / f"{name}.out"
        self._process: Watched | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def place(self, text: str) -> bool:
        """The file says this from now on: whether it said something else."""
        self.is_wanted = True
        is_other = not self.config.exists() or self.config.read_text() != text
        if is_other:
            write(self.config, text.encode())
        return is_other

    def reread(self) -> None:
        """Have the one that runs read its file again."""
        assert self._process is not None
        send_signal(self._process.pid, signal.SIGHUP)

    def adopt(self) -> bool:
        """Take over the one that an earlier agent started. False when there is none."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.pid_file.read_text())
            if str(self.config) in Path(f"/proc/{pid}/cmdline").read_text():
                self._process = Watched(pid, lambda: self._ended(pid))
                return True
        return False

    def spawn(self, command: Sequence[str]) -> None:
        """Start it in the traffic namespace."""
        assert self._process is None
        with self._output.open("wb") as output:
            child = subprocess.Popen(
                [*self.enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._process = Watched(child.pid, lambda: self._ended(child.pid), child)

    async def stop(self) -> None:
        """End it; it is not wanted until `place` is called, or it is said to be."""
        self.is_wanted = False
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    def forget_output(self) -> None:
        """Empty the file of its output when it has grown long."""
        with contextlib.suppress(OSError):
            if self._output.stat().st_size > OUTPUT_BYTES_MAX:
                os.truncate(self._output, 0)

    def _ended(self, pid: int) -> None:
        if self.pid == pid:  # else it was told to, and another may run by now
            log.error("%s ended", self._name)
            self._process = None

# SPDX-License-Identifier: Apache-2.0
"""The keepalived process: check, start, adopt, reload, stop, and notice when it ends.

Invariant: at most one runs; it outlives the agent, and a new agent adopts it. It runs in the
traffic namespace and may change addresses and send packets there, and nothing else; so may what
moves its fence. One that is
started anew takes away the VIPs that an earlier one left. It knows no bundle.
"""

import contextlib
import logging
import os
import signal
import subprocess
from pathlib import Path
from typing import Final

from colonnade.agent.folder import Folder, write
from colonnade.agent.keepalived.fence_files import FenceFiles
from colonnade.agent.programs import run, words
from colonnade.agent.watched import Watched, send_signal
from colonnade.runtime.system_programs import find_keepalived

log = logging.getLogger(__name__)
CHECK_S_MAX: Final = 10.0
OUTPUT_BYTES_MAX: Final = 64 * 1024
STOPPED: Final = "T"  # a letter of proc_pid_stat(5)
_POWERS: Final = (
    "--no-new-privs",
    "--bounding-set=-all,+net_admin,+net_raw",
    "--inh-caps=-all",
)


class Keepalived:
    def __init__(self, binary: str, folder: Folder, traffic_namespace: Path) -> None:
        self.unfit = folder.root / "unfit"  # "1" while the VIPs must not be here
        self.fence_files = FenceFiles.below(folder.root)
        found = find_keepalived(binary)
        self._binary = str(found) if found is not None else None
        self._enter = ("nsenter", f"--net={traffic_namespace}")
        self._config = folder.root / "keepalived.conf"
        self._candidate = folder.root / "keepalived.candidate"
        self._output = folder.root / "keepalived.out"
        self._pids = folder.root / "keepalived.pid", folder.root / "keepalived.vrrp.pid"
        self._process: Watched | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_stopped(self) -> bool:
        """It runs and does nothing, as by SIGSTOP; what it had of the VIPs it still has."""
        with contextlib.suppress(OSError, ValueError):
            pids = [self.pid or 0, int(self._pids[1].read_text())]
            return any(state_of(pid) == STOPPED for pid in pids)
        return False

    @property
    def says_unfit(self) -> bool:
        """Whether the file says that the VIPs must not be here; an earlier agent may have."""
        with contextlib.suppress(OSError):
            return self.unfit.read_text().strip() == "1"
        return False

    def kill(self) -> None:
        """End it at once; another is started, which takes away the VIPs that it leaves."""
        self._end_orphans()

    async def check(self, text: str) -> str:
        """ "" when keepalived would take the file, else its words."""
        if self._binary is None:
            return "the amphora has no keepalived (Debian package keepalived), which pairs need"
        write(self._candidate, text.encode())
        command = (*self._enter, self._binary, "--vrrp", "--config-test", "--use-file")
        code, output = await run(*command, str(self._candidate), within_s=CHECK_S_MAX)
        return "" if code == 0 else words(output)

    def serve(self, text: str) -> None:
        """Run on this file, whatever ran before. What it has of the VIPs it keeps."""
        # Not without need: one that reads its file just as it is to give the VIPs away does so
        # without a word to the other half.
        known = self._config.read_text() if self._config.exists() else ""
        if self._process is not None and known == text:
            return
        write(self._config, text.encode())
        if self._process is None:
            self.start()
        else:
            send_signal(self._process.pid, signal.SIGHUP)

    def adopt(self) -> bool:
        """Take over the one that an earlier agent started. False when there is none."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pids[0].read_text())
            if str(self._config) in Path(f"/proc/{pid}/cmdline").read_text():
                self._process = Watched(pid, lambda: self._ended(pid))
                return True
        return False

    def start(self) -> None:
        """Start on the file in place."""
        assert self._process is None
        assert self._binary is not None, "check comes first"
        self._end_orphans()
        for file in self._pids:
            file.unlink(missing_ok=True)
        with self._output.open("wb") as output:
            child = subprocess.Popen(
                [
                    *(*self._enter, "setpriv", *_POWERS),
                    *self.fence_files.follower(),
                    *self._command(self._binary),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._process = Watched(child.pid, lambda: self._ended(child.pid), child)

    async def stop(self) -> None:
        """End it; the VIPs that it had are gone then."""
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    def forget_output(self) -> None:
        """Empty the file of its output when it has grown long."""
        with contextlib.suppress(OSError):
            if self._output.stat().st_size > OUTPUT_BYTES_MAX:
                os.truncate(self._output, 0)

    def _command(self, binary: str) -> list[str]:
        files = ("--use-file", self._config, "--pid", self._pids[0], "--vrrp_pid", self._pids[1])
        return [binary, "--dont-fork", "--vrrp", "--log-console", "--no-syslog", *map(str, files)]

    def _ended(self, pid: int) -> None:
        if self.pid == pid:  # else it was told to, and another may run by now
            log.error("keepalived ended")
            self._process = None

    def _end_orphans(self) -> None:
        """The child of one that was killed would go on."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self._config) in (entry / "cmdline").read_text():
                    send_signal(int(entry.name), signal.SIGKILL)


def state_of(pid: int) -> str:
    """As a letter of proc_pid_stat(5)."""
    # The name before the bracket may itself hold brackets and spaces.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

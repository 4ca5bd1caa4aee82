# SPDX-License-Identifier: Apache-2.0
"""The keepalived process: check, start and reload.

It runs in the traffic namespace and may change addresses and send packets there, and nothing else;
so may what moves its fence. One that is started anew takes away the VIPs that an earlier one left.
It knows no bundle.
"""

import contextlib
import signal
from pathlib import Path
from typing import Final

from colonnade.agent.folder import Folder, write
from colonnade.agent.keepalived.fence_files import FenceFiles
from colonnade.agent.outliving import Outliving
from colonnade.agent.programs import run, words
from colonnade.agent.watched import send_signal
from colonnade.runtime.system_programs import find_keepalived

CHECK_S_MAX: Final = 10.0
STOPPED: Final = "T"  # a letter of proc_pid_stat(5)
_POWERS: Final = (
    "--no-new-privs",
    "--bounding-set=-all,+net_admin,+net_raw",
    "--inh-caps=-all",
)


class Keepalived(Outliving):
    def __init__(self, binary: str, folder: Folder, traffic_namespace: Path) -> None:
        super().__init__("keepalived", folder, traffic_namespace)
        self.unfit = folder.root / "unfit"  # "1" while the VIPs must not be here
        self.fence_files = FenceFiles.below(folder.root)
        found = find_keepalived(binary)
        self._binary = str(found) if found is not None else None
        self._child_pid = folder.root / "keepalived.vrrp.pid"

    @property
    def is_stopped(self) -> bool:
        """It runs and does nothing, as by SIGSTOP; what it had of the VIPs it still has."""
        with contextlib.suppress(OSError, ValueError):
            pids = [self.pid or 0, int(self._child_pid.read_text())]
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
        write(self.candidate, text.encode())
        command = (*self.enter, self._binary, "--vrrp", "--config-test", "--use-file")
        code, output = await run(*command, str(self.candidate), within_s=CHECK_S_MAX)
        return "" if code == 0 else words(output)

    def serve(self, text: str) -> None:
        """Run on this file, whatever ran before. What it has of the VIPs it keeps."""
        is_other = self.place(text)
        if self.pid is None:
            self.start()
        elif is_other:
            # Not without need: one that reads its file just as it is to give the VIPs away does so
            # without a word to the other half.
            self.reread()

    def start(self) -> None:
        """Start on the file in place."""
        assert self._binary is not None, "check comes first"
        self._end_orphans()
        for file in (self.pid_file, self._child_pid):
            file.unlink(missing_ok=True)
        follower = self.fence_files.follower()
        self.spawn(["setpriv", *_POWERS, *follower, *self._command(self._binary)])

    def _command(self, binary: str) -> list[str]:
        files = ("--use-file", self.config, "--pid", self.pid_file, "--vrrp_pid", self._child_pid)
        return [binary, "--dont-fork", "--vrrp", "--log-console", "--no-syslog", *map(str, files)]

    def _end_orphans(self) -> None:
        """The child of one that was killed would go on."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.config) in (entry / "cmdline").read_text():
                    send_signal(int(entry.name), signal.SIGKILL)


def state_of(pid: int) -> str:
    """As a letter of proc_pid_stat(5)."""
    # The name before the bracket may itself hold brackets and spaces.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

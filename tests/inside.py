# SPDX-License-Identifier: Apache-2.0
"""The processes inside the amphorae of a running system, found from outside, to be killed.

They are looked for among the descendants of the system only, never by name in all of the machine.
"""

import contextlib
import json
from pathlib import Path

from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System
from colonnade.protocol import paths
from colonnade.protocol.messages import PORT_AGENT

AGENT, HAPROXY, KEEPALIVED = "colonnade.agent", "haproxy.cfg", "keepalived.conf"
LISTENS = "0A"  # in /proc/net/tcp


def serving(system: System, words: str) -> list[int]:
    """Processes with these words in their command line, of the one amphora that runs haproxy;
    the oldest first."""
    found = []
    for pid in sorted(leftovers.family(system.mark)):
        with contextlib.suppress(OSError):
            if words in _command(pid) and _root(pid).joinpath("master.sock").exists():
                found.append(pid)
    return found


def of(system: System, amphora_id: str, words: str) -> list[int]:
    """Processes with these words in their command line, of this amphora; the oldest first."""
    found = []
    for pid in sorted(leftovers.family(system.mark)):
        with contextlib.suppress(OSError, ValueError):
            if words in _command(pid):
                config = json.loads((_root(pid) / "config/agent.json").read_bytes())
                if config["amphora_id"] == amphora_id:
                    found.append(pid)
    return found


def agent_at_work(system: System) -> int:
    """The agent, once it takes the controllers' connections; else 0."""
    for pid in serving(system, AGENT):
        with contextlib.suppress(OSError):
            rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()]
            if any(r[1].endswith(f":{PORT_AGENT:04X}") and r[3] == LISTENS for r in rows[1:]):
                return pid
    return 0


def agents_of(system: System, seats: int) -> list[int]:
    """Agents of amphorae that carry so many seats."""
    return [
        pid
        for pid in sorted(leftovers.family(system.mark))
        if AGENT in _command(pid) and len([*_root(pid).glob("seats/*")]) == seats
    ]


def _command(pid: int) -> str:
    """Of a process that lives; also of one whose command runs it by way of another."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    text = b" ".join(words).decode(errors="replace")
    return "" if words[0].endswith((b"sh", b"unshare", b"setpriv", b"nsenter")) else text


def _root(pid: int) -> Path:
    return Path(f"/proc/{pid}/root{paths.ROOT}")

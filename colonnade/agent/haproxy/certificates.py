# SPDX-License-Identifier: Apache-2.0
"""Certificates of the running haproxy, replaced in place with their keys.

Connections that there are go on as they are; the next handshake sees what is new. What haproxy
does not take this way is told to the caller, who reloads. Nothing of a secret is logged: not its
text, and haproxy's answers only where they cannot quote it.
"""

import logging
import re
from pathlib import Path
from typing import Final

from colonnade.agent.haproxy.console import Console, Silent
from colonnade.protocol import paths
from colonnade.protocol.bundle import Bundle, Change

log = logging.getLogger(__name__)
# haproxy takes one command in one buffer (tune.bufsize), the command's own words included.
TEXT_BYTES_MAX: Final = 15_000
_BEGUN: Final = re.compile(r"transaction (created|updated) for", re.IGNORECASE)


class Certificates:
    def __init__(self, console: Console) -> None:
        self._console = console

    async def change(self, change: Change, wanted: Bundle) -> bool:
        """True when haproxy took every change; otherwise it took some, and must reload."""
        for name in change.replaced:
            secret = wanted.secrets[name]
            if len(secret.pem) > TEXT_BYTES_MAX:
                return False
            try:
                if not await self._replace(f"{paths.SECRETS}/{name}", secret.pem):
                    return False
            except Silent as error:
                log.warning("no answer to a command: %s", error)
                return False
        return True

    async def _replace(self, file: str, pem: str) -> bool:
        answer = await self._console.give(f"set ssl cert {file}", pem)
        if _BEGUN.search(answer):
            answer = await self._console.ask(f"commit ssl cert {file}")
            if "Success!" in answer:
                return True
            await self._console.ask(f"abort ssl cert {file}")
        log.info("haproxy wants a reload for %s", file)
        return False


def is_in_memory(folder: Path) -> bool:
    """Whether what is written there never reaches a disk."""
    kind, depth = "", -1
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, found, *_ = line.split(" ")
        mounted = Path(place.replace("\\040", " "))
        # Where two are mounted at one place, the later one is seen.
        if folder.resolve().is_relative_to(mounted) and len(mounted.parts) >= depth:
            kind, depth = found, len(mounted.parts)
    return kind in ("tmpfs", "ramfs")

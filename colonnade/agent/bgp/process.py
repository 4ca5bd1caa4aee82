# SPDX-License-Identifier: Apache-2.0
"""The BIRD process: check, start, reconfigure, and what it says of its sessions.

It runs in the traffic namespace and may open sessions there; it changes no route of the amphora.
When it ends, so do its sessions, and routers lead here no more. It knows no bundle.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from colonnade.agent.folder import Folder, write
from colonnade.agent.outliving import Outliving
from colonnade.agent.programs import run, words
from colonnade.runtime.system_programs import find_bird

CHECK_S_MAX: Final = 10.0
ANSWER_S_MAX: Final = 1.0
_POWERS: Final = (
    "--no-new-privs",
    "--bounding-set=-all,+net_admin,+net_raw,+net_bind_service",
    "--inh-caps=-all",
)


class Bird(Outliving):
    def __init__(self, binary: str, folder: Folder, traffic_namespace: Path) -> None:
        found = find_bird(binary)
        super().__init__("bird", folder, traffic_namespace)
        self._binary = str(found) if found is not None else None
        self._socket = folder.root / "bird.sock"

    async def check(self, text: str) -> str:
        """ "" when BIRD would take the file, else its words."""
        if self._binary is None:
            return "the amphora has no bird (Debian package bird2), which announces VIPs"
        write(self.candidate, text.encode())
        command = (self._binary, "-p", "-c", str(self.candidate))
        code, output = await run(*command, within_s=CHECK_S_MAX)
        return "" if code == 0 else words(output)

    def serve(self, text: str) -> None:
        """Run on this file, whatever ran before; sessions that are in both stay."""
        is_other = self.place(text)
        if self.pid is None:
            self.start()
        elif is_other:
            self.reread()

    def start(self) -> None:
        """Start on the file in place."""
        assert self._binary is not None, "check comes first"
        files = ("-c", self.config, "-s", self._socket, "-P", self.pid_file)
        self.spawn(["setpriv", *_POWERS, self._binary, "-f", *map(str, files)])

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

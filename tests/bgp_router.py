# SPDX-License-Identifier: Apache-2.0
"""An operator's router: a real BIRD that hears VIPs by BGP and has the kernel spread flows over
those that announce one. It believes nobody: only VIPs of the operator's ranges, one address each,
from the autonomous system of amphorae, and by no other next hop than who says it.
"""

import asyncio
from pathlib import Path
from typing import Final

from colonnade.drivers.network.protocol import Announced, Neighbour
from colonnade.runtime.system_programs import find_bird

OWN_AS: Final = 64600
AMPHORAE_AS: Final = 64512
BFD_MS: Final = 100
CONFIG: Final = """\
log stderr {{ warning, error, fatal, bug }};
router id {own4};
protocol device {{ }}
protocol direct {{ ipv4; ipv6; }}
protocol bfd {{ interface "*" {{ interval {bfd} ms; multiplier 3; }}; }}
protocol kernel {{ merge paths on; ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol kernel {{ merge paths on; ipv6 {{ import none; export where source = RTS_BGP; }}; }}
filter vips4 {{ if net ~ [{vips4}{{32,32}}] && bgp_next_hop = from then accept; reject; }}
filter vips6 {{ if net ~ [{vips6}{{128,128}}] && bgp_next_hop = from then accept; reject; }}
protocol bgp amphorae4 {{
    local {own4} as {asn};
    neighbor range {range4} as {amphorae};
    dynamic name "v4amphora";
    bfd yes;
    ipv4 {{ import limit 100 action block; import filter vips4; export none; }};
}}
protocol bgp amphorae6 {{
    local {own6} as {asn};
    neighbor range {range6} as {amphorae};
    dynamic name "v6amphora";
    bfd yes;
    ipv6 {{ import limit 100 action block; import filter vips6; export none; }};
}}
"""


class BgpRouter:
    """`own`: its addresses; `ranges`: where amphorae are; `vips`: what they may announce; each of
    IPv4 and IPv6."""

    def __init__(
        self, folder: Path, own: tuple[str, str], ranges: tuple[str, str], vips: tuple[str, str]
    ) -> None:
        self._socket, self._config = folder / "router.sock", folder / "router.conf"
        self._config.write_text(
            CONFIG.format(
                own4=own[0], own6=own[1], range4=ranges[0], range6=ranges[1], vips4=vips[0],
                vips6=vips[1], asn=OWN_AS, amphorae=AMPHORAE_AS, bfd=BFD_MS,
            )
        )  # fmt: skip
        self.announced = Announced(
            asn=AMPHORAE_AS,
            routers=tuple(Neighbour(one, OWN_AS) for one in own),
            bfd_ms=BFD_MS,
        )

    @property
    def argv(self) -> list[str]:
        """To be run where the amphorae's network is."""
        bird = find_bird()
        assert bird is not None, "the test is marked with needs_bird"
        return [str(bird), "-f", "-c", str(self._config), "-s", str(self._socket)]

    async def led_to(self, vip: str) -> set[str]:
        """The next hops by which it has been told of a VIP."""
        said = await self._ask(f"show route for {vip} all")
        words = [line.split() for line in said.splitlines() if "BGP.next_hop:" in line]
        return {found[1] for found in words}

    async def _ask(self, question: str) -> str:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except (FileNotFoundError, ConnectionRefusedError):
            return ""  # it begins
        try:
            await reader.readline()
            writer.write(f"{question}\n".encode())
            found = b""
            # An answer ends with a line that has a code and a space: 0000, or 8001 for no route.
            while not any(one[:4].isdigit() and one[4:5] == b" " for one in found.splitlines()):
                found += await reader.readuntil(b"\n")
            return found.decode()
        finally:
            writer.close()

# SPDX-License-Identifier: Apache-2.0
"""Whether a takeover of a routed pair takes longer with more VIPs.

EVENTS times for each number. `half`: one real half with 1, 10 and 50 VIPs, whose other half (this
program) falls silent; until the first, the middle and the last VIP all answer. `whole`: a load
balancer with 2 and 11 VIPs, the most that one may have; its active half is killed, and a client
opens a connection every 5 ms.
"""

import asyncio
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.results import Figures, percentile
from colonnade.protocol.messages import Role
from tests.agent_bench import Bench
from tests.agent_half import OWN, Peer, half, led_to, role
from tests.pairs import gap_of, killed, pair_site

EVENTS: Final = int(os.environ.get("EVENTS", "20"))
OF_HALF: Final = (1, 10, 50)
OF_WHOLE: Final = (2, 11)
LOOK_S: Final = 0.005
TRY_S: Final = 0.02
GOALS: Final = {f"half_{count}_vips_p95_s": "< 0.5" for count in OF_HALF}


async def measure() -> Figures:
    figures: Figures = {"events": EVENTS}
    for count in OF_HALF:
        figures |= _spread(f"half_{count}_vips", await _half(count))
    for count in OF_WHOLE:
        async with pair_site("--spares", "2", further=count - 2, front_end="routed") as pair:
            gaps = [(await gap_of(pair, killed))[0] for _ in range(EVENTS)]
        figures |= _spread(f"whole_{count}_vips", gaps)
    return figures


async def _half(count: int) -> list[float]:
    vips = [f"192.0.2.{number}" for number in range(1, count + 1)]
    looked = sorted({vips[0], vips[count // 2], vips[-1]})
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            await bench.start()
            bench.site.let_listen_early()
            await bench.web_server(1)
            for vip in looked:
                bench.site.lead(vip, via=OWN)
            peer = Peer(bench)
            found = []
            async with peer.saying(240):
                await bench.put(led_to(half(1), vips=vips))
            for _ in range(EVENTS):
                async with peer.saying(254):
                    await role(bench, Role.BACKUP)
                silent = time.monotonic()
                await asyncio.gather(*(_answers(bench, vip) for vip in looked))
                found.append(time.monotonic() - silent)
            peer.close()
        finally:
            await bench.end()
    return found


async def _answers(bench: Bench, vip: str) -> None:
    """Wait until somebody at the VIP takes a connection; each try has a socket of its own, for the
    kernel would repeat a lost SYN a second later."""
    loop = asyncio.get_running_loop()
    while True:
        with bench.site.new_socket(socket.AF_INET) as made:
            made.setblocking(False)
            try:
                async with asyncio.timeout(TRY_S):
                    await loop.sock_connect(made, (vip, 80))
            except (TimeoutError, OSError):
                await asyncio.sleep(LOOK_S)
            else:
                return


def _spread(name: str, seconds: list[float]) -> Figures:
    return {
        f"{name}_p50_s": round(percentile(seconds, 0.5), 3),
        f"{name}_p95_s": round(percentile(seconds, 0.95), 3),
        f"{name}_max_s": round(max(seconds), 3),
    }

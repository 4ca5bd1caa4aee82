# SPDX-License-Identifier: Apache-2.0
"""What keeps the amphora from serving as it should, and what its agent cannot mend.

It is told in the status; what becomes of it others decide. Each look is a few small files of
/proc. Invariant: nothing is a trouble that another amphora in the same place would have too, as
far as can be told: a gateway is missed only after it was there.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.keepalived.process import Keepalived
from colonnade.protocol.bundle import Bundle
from colonnade.protocol.messages import StatusReport, Trouble, TroubleKind

ROOM_MIN: Final = 64 * 1024  # bytes: with less, no change can be taken
UP, COMPLETE = 0x1, 0x2  # flags of a route, and of an entry of the neighbours' table


class Troubles:
    def __init__(self, folder: Folder, haproxy: Haproxy, keepalived: Keepalived) -> None:
        self._folder = folder
        self._keepalived = keepalived
        self._haproxy = haproxy
        self._answered: set[str] = set()  # gateways that did

    def look(self, served: Bundle | None, report: StatusReport) -> tuple[Trouble, ...]:
        """Those of now. `report`: what is known of haproxy."""
        found = []
        if served is not None and served.serves and not report.haproxy_running:
            found.append(Trouble(kind=TroubleKind.HAPROXY))
        if served is not None and served.pair is not None and self._keepalived.pid is None:
            found.append(Trouble(kind=TroubleKind.KEEPALIVED))
        if not self._has_room():
            found.append(Trouble(kind=TroubleKind.DISK))
        pid = self._haproxy.pid
        if served is not None and pid is not None:
            # /proc shows what the namespace has in which haproxy serves.
            found += self._of_gateways(served, Path(f"/proc/{pid}/net"))
        return tuple(found)

    def _has_room(self) -> bool:
        place = os.statvfs(self._folder.root)
        return place.f_bavail * place.f_frsize >= ROOM_MIN and place.f_favail > 0

    def _of_gateways(self, served: Bundle, net: Path) -> Iterator[Trouble]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            routed = gateways(_lines(net / "route"), _lines(net / "ipv6_route"))
            neighbours = answers(_lines(net / "arp"))
            self._answered |= {one for one, is_there in neighbours.items() if is_there}
            for interface in served.interfaces:
                for text in interface.gateways if interface.is_default else ():
                    one = str(ip_address(text))
                    if one not in routed:
                        yield Trouble(kind=TroubleKind.GATEWAY, text=f"no route to {one}")
                    elif one in self._answered and neighbours.get(one) is False:
                        yield Trouble(kind=TroubleKind.GATEWAY, text=f"{one} does not answer")


def gateways(route: Sequence[str], ipv6_route: Sequence[str]) -> set[str]:
    """Of all default routes, as /proc/net/route and /proc/net/ipv6_route have them."""
    found = set()
    for line in route[1:]:
        words = line.split()
        if int(words[1], 16) == 0 and int(words[7], 16) == 0 and int(words[3], 16) & UP:
            found.add(str(ip_address(bytes.fromhex(words[2])[::-1])))
    for line in ipv6_route:
        words = line.split()
        if int(words[0], 16) == 0 and int(words[1], 16) == 0 and int(words[8], 16) & UP:
            found.add(str(ip_address(bytes.fromhex(words[4]))))
    return found


def answers(arp: Sequence[str]) -> dict[str, bool]:
    """Whether each neighbour that was asked has answered, as /proc/net/arp says."""
    rows = [line.split() for line in arp[1:]]
    return {words[0]: bool(int(words[2], 16) & COMPLETE) for words in rows}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []

# SPDX-License-Identifier: Apache-2.0
"""Routes with several next hops, as the kernel's next-hop objects (linux/nexthop.h).

Each route has a group of its own, whose number the caller chooses, so all of it may be repeated. A
group is *resilient* (Linux 5.13): flows fall into buckets, and a bucket stays with its next hop as
long as that is in the group, so a change breaks the flows of those that left and no other. One that
is new gets buckets that were silent for `IDLE_S`, and after `UNBALANCED_S` those that never are.
Spoken to the kernel directly: pyroute2 knows no next hops. Callers run in the thread of `links`.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Final

import msgspec

BUCKETS: Final = 256
IDLE_S: Final = 30
UNBALANCED_S: Final = 300
FIRST_GROUP: Final = 1 << 20  # groups are above, single next hops below
ANSWER_S_MAX: Final = 5.0

_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE: Final = struct.Struct("=HH")
_NEXT_HOP: Final = struct.Struct("=BBBBI")  # nhmsg: family, scope, protocol, reserved, flags
_MEMBER: Final = struct.Struct("=IBBH")  # nexthop_grp: id, weight - 1, its high bits, reserved
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # rtmsg
_NEW_ROUTE, _DELETE_ROUTE = 24, 25
_NEW_NEXT_HOP, _DELETE_NEXT_HOP, _GET_NEXT_HOP = 104, 105, 106
_REQUEST, _ACK, _REPLACE, _CREATE, _DUMP = 0x1, 0x4, 0x100, 0x400, 0x300
_ERROR, _DONE = 2, 3
_ID, _GROUP, _GROUP_TYPE, _LINK, _GATEWAY, _RESILIENT = 1, 2, 3, 5, 6, 12  # NHA_*
_BUCKETS, _IDLE, _UNBALANCED = 1, 2, 3  # NHA_RES_GROUP_*
_DESTINATION, _ROUTE_NEXT_HOP = 1, 30  # RTA_*
_NESTED: Final = 0x8000
_OURS: Final = 203  # rt_protocol, of those that nobody has: who made it
_MAIN_TABLE, _UNICAST = 254, 1
_TICKS: Final = 100  # USER_HZ: of the kernel's interface, whatever its own clock is


class Hop(msgspec.Struct, frozen=True):
    gateway: str
    link: int  # index
    weight: int


class Patience(msgspec.Struct, frozen=True):
    idle_s: float = IDLE_S
    unbalanced_s: float = UNBALANCED_S


class Table:
    """The routes of the network namespace in which it was made.

    What the kernel has it reads once, so a change costs the same however many routes there are.
    After an error it may be mistaken: make another."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(ANSWER_S_MAX)
        self._sequence = 0
        self._singles: dict[tuple[bytes, int], int] = {}  # id by gateway and link
        self._groups: dict[int, set[int]] = {}  # the singles that each is of
        for found in self._dump():
            number = _number(found[_ID])
            if _GATEWAY in found:
                self._singles[found[_GATEWAY], _number(found[_LINK])] = number
            else:
                self._groups[number] = _members(found[_GROUP])
        self._forget_unused(self._singles.values())  # whoever made them was killed before the group

    def set(self, destination: str, number: int, hops: Sequence[Hop]) -> None:
        """Raises OSError when the kernel would not."""
        members = b"".join(_MEMBER.pack(self._single(hop), hop.weight - 1, 0, 0) for hop in hops)
        group = FIRST_GROUP + number
        before = self._groups.get(group, set())
        self._set_group(group, members)
        self._groups[group] = _members(members)
        self._ask(_NEW_ROUTE, _CREATE | _REPLACE, _route(destination, group))
        self._forget_unused(before)

    def delete(self, destination: str, number: int) -> None:
        with _ignoring(errno.ESRCH):
            self._ask(_DELETE_ROUTE, 0, _route(destination, 0))
        self._delete_next_hop(FIRST_GROUP + number)
        self._forget_unused(self._groups.pop(FIRST_GROUP + number, set()))

    def close(self) -> None:
        self._socket.close()

    def _single(self, hop: Hop) -> int:
        key = (ip_address(hop.gateway).packed, hop.link)
        if key not in self._singles:
            number = max((*self._singles.values(), 0)) + 1
            self._add_single(number, hop)
            self._singles[key] = number
        return self._singles[key]

    def _add_single(self, number: int, hop: Hop) -> None:
        gateway = ip_address(hop.gateway)
        family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
        body = _NEXT_HOP.pack(family, 0, _OURS, 0, 0)
        body += _said(_ID, _word(number)) + _said(_LINK, _word(hop.link))
        self._ask(_NEW_NEXT_HOP, _CREATE, body + _said(_GATEWAY, gateway.packed))

    def _set_group(self, number: int, members: bytes) -> None:
        body = _NEXT_HOP.pack(socket.AF_UNSPEC, 0, _OURS, 0, 0)
        body += _said(_ID, _word(number)) + _said(_GROUP, members)
        resilient = _said(_BUCKETS, struct.pack("=H", BUCKETS))
        resilient += _said(_IDLE, _word(int(self._patience.idle_s * _TICKS)))
        resilient += _said(_UNBALANCED, _word(int(self._patience.unbalanced_s * _TICKS)))
        body += _said(_GROUP_TYPE, struct.pack("=H", 1))
        self._ask(_NEW_NEXT_HOP, _CREATE | _REPLACE, body + _said(_RESILIENT | _NESTED, resilient))

    def _forget_unused(self, candidates: Iterable[int]) -> None:
        used = set().union(*self._groups.values()) if candidates else set()
        unused = {one for one in candidates if one not in used}
        for key, number in list(self._singles.items()):
            if number in unused:
                self._delete_next_hop(number)
                del self._singles[key]

    def _delete_next_hop(self, number: int) -> None:
        body = _NEXT_HOP.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _said(_ID, _word(number))
        with _ignoring(errno.ENOENT):
            self._ask(_DELETE_NEXT_HOP, 0, body)

    def _dump(self) -> list[dict[int, bytes]]:
        """The attributes of each next hop of ours."""
        bodies = self._ask(_GET_NEXT_HOP, _DUMP, _NEXT_HOP.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        return [
            dict(_attributes(body[_NEXT_HOP.size :]))
            for body in bodies
            if _NEXT_HOP.unpack_from(body)[2] == _OURS
        ]

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """The bodies of the answer. Raises OSError."""
        self._sequence += 1
        flags |= _REQUEST | _ACK
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, kind, flags, self._sequence, 0) + body)
        bodies: list[bytes] = []
        while True:
            said = self._socket.recv(1 << 18)
            while said:
                length, found, _, sequence, _ = _HEADER.unpack_from(said)
                content, said = said[_HEADER.size : length], said[_padded(length) :]
                if sequence != self._sequence:
                    continue
                if found in (_ERROR, _DONE):
                    number = -struct.unpack_from("=i", content)[0] if content else 0
                    if number:
                        raise OSError(number, f"netlink message {kind}")
                    return bodies
                bodies.append(content)


def _route(destination: str, next_hop: int) -> bytes:
    net = ip_network(destination)
    family = socket.AF_INET if net.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, net.prefixlen, 0, 0, _MAIN_TABLE, _OURS, 0, _UNICAST, 0)
    body += _said(_DESTINATION, net.network_address.packed)
    return body + _said(_ROUTE_NEXT_HOP, _word(next_hop)) if next_hop else body


def _members(group: bytes) -> set[int]:
    return {_MEMBER.unpack_from(group, place)[0] for place in range(0, len(group), _MEMBER.size)}


def _word(number: int) -> bytes:
    return struct.pack("=I", number)


def _number(word: bytes) -> int:
    return int(struct.unpack("=I", word)[0])


def _padded(length: int) -> int:
    return (length + 3) & ~3


def _said(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_padded(length) - length)


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    while len(body) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(body)
        yield kind & ~_NESTED, body[_ATTRIBUTE.size : length]
        body = body[_padded(length) :]


@contextlib.contextmanager
def _ignoring(number: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != number:
            raise

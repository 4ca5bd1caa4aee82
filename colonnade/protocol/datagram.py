# SPDX-License-Identifier: Apache-2.0
"""The UDP messages as bytes, with no socket in sight.

    offset  size  field
    0       2     magic "CL"
    2       1     version
    3       1     kind
    4       16    amphora, a UUID
    20      8     sequence: rises for ever, across restarts of the sender
    28      8     generation: the newest tree this amphora serves
    36      n     payload
    36+n    32    tag: HMAC-SHA256 of everything before it

Each amphora has its own key, so a stolen one can speak only for itself. The sender's name is
read early, but only to choose the key. Freshness (is the sequence above the last one?) is the
receiver's rule, because it needs memory and this file has none. A tag that was computed is
never logged: for the right sender it would be a forgery kit.
"""

import hmac
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

HEADER: Final = struct.Struct("!2sBB16sQQ")
MAGIC: Final = b"CL"
VERSION: Final = 1
TAG_BYTES: Final = 32
DATAGRAM_BYTES_MAX: Final = 1200  # with IP and UDP headers, under IPv6's least MTU of 1280
LEAST_BYTES: Final = HEADER.size + TAG_BYTES
PAYLOAD_BYTES_MAX: Final = DATAGRAM_BYTES_MAX - LEAST_BYTES


class Kind(IntEnum):
    HEARTBEAT = 1
    STATISTICS = 2
    EDGE = 3
    TASKS = 4  # controller -> amphora; the amphora named is the one spoken to


_KINDS: Final = {kind.value: kind for kind in Kind}


class Rejected(Exception):
    """Not a datagram that is accepted. Counted by its reason and dropped, never answered."""


class Datagram(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    amphora: UUID
    sequence: int
    generation: int
    payload: bytes = b""


def encode(d: Datagram, key: bytes) -> bytes:
    header = HEADER.pack(MAGIC, VERSION, d.kind, d.amphora.bytes, d.sequence, d.generation)
    signed = header + d.payload
    assert len(signed) + TAG_BYTES <= DATAGRAM_BYTES_MAX, "payload is too long"
    return signed + hmac.digest(key, signed, "sha256")


class Opened(NamedTuple):
    """A datagram whose tag is right, with the amphora as it is on the wire: 16 bytes."""

    kind: Kind
    name: bytes
    sequence: int
    generation: int
    payload: bytes


def open_datagram(datagram: bytes, key_of: Callable[[bytes], bytes | None]) -> Opened:
    """What is in it, in as few steps as there can be. Raises Rejected: size, format, tag."""
    if not LEAST_BYTES <= len(datagram) <= DATAGRAM_BYTES_MAX:
        raise Rejected("size")
    magic, version, number, name, sequence, generation = HEADER.unpack_from(datagram)
    kind = _KINDS.get(number)
    if kind is None or magic != MAGIC or version != VERSION:
        raise Rejected("format")
    key = key_of(name)
    signed = datagram[:-TAG_BYTES]
    tag = datagram[-TAG_BYTES:]
    if key is None or not hmac.compare_digest(tag, hmac.digest(key, signed, "sha256")):
        raise Rejected("tag")
    return Opened(kind, name, sequence, generation, signed[HEADER.size :])


def decode(datagram: bytes, key_of: Callable[[UUID], bytes | None]) -> Datagram:
    """The datagram, if it is one and its tag is right. Raises Rejected, as `open_datagram`."""
    opened = open_datagram(datagram, lambda name: key_of(UUID(bytes=name)))
    return Datagram(
        kind=opened.kind,
        amphora=UUID(bytes=opened.name),
        sequence=opened.sequence,
        generation=opened.generation,
        payload=opened.payload,
    )


class Heartbeat(msgspec.Struct, frozen=True, array_like=True):
    """Payload of HEARTBEAT, as msgpack: constant size, whatever the amphora serves. `status` is the
    first 16 bytes of the SHA-256 of the encoded StatusReport; a receiver that has not seen it asks
    for the report."""

    status: bytes
    load: float  # the amphora's load average over a minute
    haproxy_running: bool
    receivers: int = 0  # that it sends to in turn, at most `RECEIVERS_MAX`; 0: it did not say


class Edge(msgspec.Struct, frozen=True, array_like=True):
    """Payload of EDGE, as msgpack: up to `EDGES_MAX` servers whose state just changed."""

    servers: tuple[tuple[str, str, str], ...]  # (backend, server, state)
    haproxy_running: bool


class Statistics(msgspec.Struct, frozen=True, array_like=True):
    """Payload of STATISTICS, as msgpack: absolute counters of a few listeners."""

    # (listener, active connections, bytes in, bytes out, request errors, total connections)
    listeners: tuple[tuple[str, int, int, int, int, int], ...]


HEARTBEAT_BYTES: Final = 98  # the whole datagram
RECEIVERS_MAX: Final = 64  # that an amphora sends to in turn: a number of one byte
EDGES_MAX: Final = 8
STATISTICS_LISTENERS_MAX: Final = 8

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
from typing import Final
from uuid import UUID

import msgspec

HEADER: Final = struct.Struct("!2sBB16sQQ")
MAGIC: Final = b"CL"
VERSION: Final = 1
TAG_BYTES: Final = 32
DATAGRAM_BYTES_MAX: Final = 1200  # with IP and UDP headers, under IPv6's least MTU of 1280
PAYLOAD_BYTES_MAX: Final = DATAGRAM_BYTES_MAX - HEADER.size - TAG_BYTES


class Kind(IntEnum):
    HEARTBEAT = 1
    STATISTICS = 2
    EDGE = 3
    TASKS = 4  # controller -> amphora; the amphora named is the one spoken to


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


def decode(datagram: bytes, key_of: Callable[[UUID], bytes | None]) -> Datagram:
    """The datagram, if it is one and its tag is right. Raises Rejected: size, format, tag."""
    if not HEADER.size + TAG_BYTES <= len(datagram) <= DATAGRAM_BYTES_MAX:
        raise Rejected("size")
    signed, tag = datagram[:-TAG_BYTES], datagram[-TAG_BYTES:]
    magic, version, kind, sender, sequence, generation = HEADER.unpack_from(signed)
    if (magic, version) != (MAGIC, VERSION) or kind not in Kind.__members__.values():
        raise Rejected("format")
    amphora = UUID(bytes=sender)
    key = key_of(amphora)
    if key is None or not hmac.compare_digest(tag, hmac.digest(key, signed, "sha256")):
        raise Rejected("tag")
    return Datagram(
        kind=Kind(kind),
        amphora=amphora,
        sequence=sequence,
        generation=generation,
        payload=signed[HEADER.size :],
    )


class Heartbeat(msgspec.Struct, frozen=True, array_like=True):
    """Payload of HEARTBEAT, as msgpack: constant size. `status` is the first 16 bytes of the
    SHA-256 of the encoded StatusReport; a receiver that has not seen it asks for the report."""

    status: bytes
    load: float  # the amphora's load average over a minute
    haproxy_running: bool


class Edge(msgspec.Struct, frozen=True, array_like=True):
    """Payload of EDGE, as msgpack: up to `EDGES_MAX` servers whose state just changed."""

    servers: tuple[tuple[str, str, str], ...]  # (backend, server, state)
    haproxy_running: bool


class Statistics(msgspec.Struct, frozen=True, array_like=True):
    """Payload of STATISTICS, as msgpack: absolute counters of a few listeners."""

    # (listener, active connections, bytes in, bytes out, request errors, total connections)
    listeners: tuple[tuple[str, int, int, int, int, int], ...]


EDGES_MAX: Final = 8
STATISTICS_LISTENERS_MAX: Final = 8

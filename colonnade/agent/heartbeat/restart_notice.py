# SPDX-License-Identifier: Apache-2.0
"""Tell receivers that the agent is starting again: send its last heartbeat once more, at once.

haproxy goes on while the agent is away, and to load all of the agent takes longer on a busy
machine than an amphora may be silent. It is sent as the process begins and again once its modules
are loaded, because each half of a start may take seconds. Invariant: between two heartbeats of an
agent at work `STARTS_MAX` starts are told at most, so that an agent which never gets to work is
still found silent. It imports little, because each import delays the datagram.
"""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from colonnade.agent.folder import Folder, write_if_room
from colonnade.agent.heartbeat.sequence import Sequence64
from colonnade.protocol.datagram import RECEIVERS_MAX, Datagram, Heartbeat, Kind, encode

STARTS_MAX: Final = 3
TOLD_MAX: Final = 8  # receivers


class LastHeartbeat(msgspec.Struct, frozen=True):
    """The last heartbeat of an agent at work, and how many agents have started since."""

    amphora: UUID = UUID(int=0)
    receivers: tuple[str, ...] = ()
    generation: int = 0
    status: bytes = b""
    haproxy_running: bool = False
    starts: int = 0


def payload(last: LastHeartbeat) -> bytes:
    receivers = min(len(last.receivers), RECEIVERS_MAX)
    beat = Heartbeat(last.status, os.getloadavg()[0], last.haproxy_running, receivers)
    return msgspec.msgpack.encode(beat)


def remember(last: LastHeartbeat, folder: Folder) -> bool:
    """Write it down. False when the disk has no room."""
    return write_if_room(folder.last_heartbeat, msgspec.msgpack.encode(last))


def told_last(folder: Folder) -> LastHeartbeat:
    """What was remembered; nothing of an amphora that starts for the first time."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.msgpack.decode(folder.last_heartbeat.read_bytes(), type=LastHeartbeat)
    return LastHeartbeat()


def say_so(drive: Path, folder: Folder) -> bool:
    """Send the last heartbeat of the agent before to all receivers, if it may still be believed:
    whether it may, and this start be told again. There is none at the first start. A failure here
    is left to the agent that starts next."""
    with contextlib.suppress(OSError, ValueError):
        last = told_last(folder)
        if not last.receivers or last.starts >= STARTS_MAX:
            return False
        # Counted before it is sent: without the count it could be sent for ever.
        if remember(msgspec.structs.replace(last, starts=last.starts + 1), folder):
            _send(last, drive, folder)
            return True
    return False


def say_again(drive: Path, folder: Folder) -> None:
    """The same of the same start, once."""
    with contextlib.suppress(OSError, ValueError):
        _send(told_last(folder), drive, folder)


def _send(last: LastHeartbeat, drive: Path, folder: Folder) -> None:
    key = bytes.fromhex((drive / "heartbeat.key").read_text().strip())
    sequence = Sequence64(folder)
    for receiver in last.receivers[:TOLD_MAX]:
        datagram = Datagram(
            kind=Kind.HEARTBEAT,
            amphora=last.amphora,
            sequence=sequence.next(),
            generation=last.generation,
            payload=payload(last),
        )
        host, port = split_address(receiver)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
            sender.sendto(encode(datagram, key), (host, port))


def split_address(text: str) -> tuple[str, int]:
    """ "address:port" or "[address]:port" in two."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)

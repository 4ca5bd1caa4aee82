# SPDX-License-Identifier: Apache-2.0
"""An agent that starts again says so at once, in words that count, and not for ever."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.status import digest
from colonnade.agent.heartbeat.restart_notice import STARTS_MAX, say_again, say_so, told_last
from colonnade.agent.heartbeat.sender import HeartbeatSender
from colonnade.protocol.datagram import Datagram, Heartbeat, Kind, decode
from colonnade.protocol.messages import StatusReport

KEY = b"k" * 32
AMPHORA = uuid4()
REPORT = StatusReport(generation=7, haproxy_running=True)


@pytest.fixture
def receivers() -> Iterator[list[socket.socket]]:
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for one in made:
        one.bind(("127.0.0.1", 0))
        one.settimeout(5.0)
    yield made
    for one in made:
        one.close()


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    made = tmp_path / "drive"
    made.mkdir()
    (made / "heartbeat.key").write_text(f"{KEY.hex()}\n")
    return made


async def beat(folder: Folder, receivers: list[socket.socket]) -> None:
    """One heartbeat of an agent at work."""
    sender = HeartbeatSender(str(AMPHORA), KEY, folder)
    sender.receivers = [f"127.0.0.1:{one.getsockname()[1]}" for one in receivers]
    sender.generation = lambda: 7
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: sender, local_addr=("127.0.0.1", 0)
    )
    sender.beat(REPORT)
    transport.close()


def heard(receiver: socket.socket) -> Datagram:
    def key_of(amphora: UUID) -> bytes | None:
        return KEY if amphora == AMPHORA else None

    return decode(receiver.recv(2000), key_of)


def waiting(receiver: socket.socket) -> int:
    """How many datagrams have come. On loopback they are there when `sendto` returns."""
    receiver.setblocking(False)
    count = 0
    try:
        while receiver.recv(2000):
            count += 1
    except BlockingIOError:
        return count
    return count


async def test_the_last_heartbeat_is_said_again_to_all_receivers(
    tmp_path: Path, drive: Path, receivers: list[socket.socket]
) -> None:
    folder = Folder(tmp_path)
    await beat(folder, receivers)
    last = heard(receivers[0])
    say_so(drive, folder)
    for receiver in receivers:
        again = heard(receiver)
        assert (again.kind, again.generation) == (Kind.HEARTBEAT, 7)
        assert again.sequence > last.sequence
        told = msgspec.msgpack.decode(again.payload, type=Heartbeat)
        assert (told.status, told.haproxy_running) == (digest(REPORT), True)


async def test_a_start_that_takes_long_is_told_again_once_its_modules_are_loaded(
    tmp_path: Path, drive: Path, receivers: list[socket.socket]
) -> None:
    folder = Folder(tmp_path)
    assert not say_so(drive, folder), "the first start ever has nothing to say"
    await beat(folder, receivers)
    assert say_so(drive, folder)
    first = heard(receivers[1])
    say_again(drive, folder)
    again = heard(receivers[1])
    assert again.payload == first.payload
    assert again.sequence > first.sequence
    assert told_last(folder).starts == 1


async def test_receivers_that_it_had_are_known_again_and_their_number_is_said(
    tmp_path: Path, receivers: list[socket.socket]
) -> None:
    folder = Folder(tmp_path)
    assert told_last(folder).receivers == ()
    await beat(folder, receivers)
    told = msgspec.msgpack.decode(heard(receivers[0]).payload, type=Heartbeat)
    assert told.receivers == len(receivers)
    assert [place.rpartition(":")[2] for place in told_last(folder).receivers] == [
        str(one.getsockname()[1]) for one in receivers
    ]


async def test_one_that_never_gets_to_work_falls_silent(
    tmp_path: Path, drive: Path, receivers: list[socket.socket]
) -> None:
    folder = Folder(tmp_path)
    await beat(folder, receivers)
    for _ in range(STARTS_MAX + 5):
        if say_so(drive, folder):
            say_again(drive, folder)
    assert waiting(receivers[1]) == 2 * STARTS_MAX
    await beat(folder, receivers)  # it got to work
    say_so(drive, folder)
    assert waiting(receivers[1]) == 1


async def test_what_is_missing_or_broken_keeps_no_agent_from_starting(
    tmp_path: Path, drive: Path, receivers: list[socket.socket]
) -> None:
    folder = Folder(tmp_path)
    say_so(drive, folder)  # the first start ever
    await beat(folder, receivers)
    (drive / "heartbeat.key").write_text("no key")
    say_so(drive, folder)
    folder.last_heartbeat.write_bytes(b"\xff broken")
    say_so(drive, folder)
    assert waiting(receivers[1]) == 0

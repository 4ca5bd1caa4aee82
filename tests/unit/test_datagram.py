# SPDX-License-Identifier: Apache-2.0
"""Datagrams: what was signed is read back, and nothing else is; the page's examples hold."""

import json
import re
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.agent.haproxy.status import digest
from colonnade.protocol.datagram import (
    EDGES_MAX,
    HEADER,
    HEARTBEAT_BYTES,
    PAYLOAD_BYTES_MAX,
    RECEIVERS_MAX,
    STATISTICS_LISTENERS_MAX,
    TAG_BYTES,
    Datagram,
    Edge,
    Heartbeat,
    Kind,
    Rejected,
    Statistics,
    decode,
    encode,
)
from colonnade.protocol.messages import StatusReport

PAGE = Path(__file__).parents[2] / "docs/protocol/heartbeat.md"
KEY = bytes(range(32))
sixty_four_bits = st.integers(0, 2**64 - 1)
datagrams = st.builds(
    Datagram,
    kind=st.sampled_from(Kind),
    amphora=st.uuids(),
    sequence=sixty_four_bits,
    generation=sixty_four_bits,
    payload=st.binary(max_size=PAYLOAD_BYTES_MAX),
)


@given(datagrams)
def test_what_was_encoded_is_decoded(datagram: Datagram) -> None:
    assert decode(encode(datagram, KEY), lambda _amphora: KEY) == datagram


@given(datagrams, st.data())
def test_any_flipped_bit_is_rejected(datagram: Datagram, data: st.DataObject) -> None:
    sent = bytearray(encode(datagram, KEY))
    bit = data.draw(st.integers(0, len(sent) * 8 - 1))
    sent[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Rejected):
        decode(bytes(sent), lambda _amphora: KEY)


@given(datagrams, st.data())
def test_any_truncation_is_rejected(datagram: Datagram, data: st.DataObject) -> None:
    sent = encode(datagram, KEY)
    length = data.draw(st.integers(0, len(sent) - 1))
    with pytest.raises(Rejected):
        decode(sent[:length], lambda _amphora: KEY)


@given(st.binary(max_size=1400))
def test_noise_is_rejected(noise: bytes) -> None:
    with pytest.raises(Rejected):
        decode(noise, lambda _amphora: KEY)


@given(datagrams)
def test_the_key_is_the_named_amphoras_own(datagram: Datagram) -> None:
    sent = encode(datagram, KEY)
    asked: list[UUID] = []

    def other_key(amphora: UUID) -> bytes:
        asked.append(amphora)
        return b"another key"

    with pytest.raises(Rejected, match="tag"):
        decode(sent, other_key)
    assert asked == [datagram.amphora]
    with pytest.raises(Rejected, match="tag"):
        decode(sent, lambda _amphora: None)


def test_the_fullest_payloads_fit() -> None:
    name, most = "x" * 36, 2**63
    edge = Edge(((f"{name}:{name}", name, "NO_CHECK"),) * EDGES_MAX, True)
    counted = Statistics(((name, most, most, most, most, most),) * STATISTICS_LISTENERS_MAX)
    for payload in (edge, counted):
        assert len(msgspec.msgpack.encode(payload)) <= PAYLOAD_BYTES_MAX


@given(
    status=st.binary(min_size=16, max_size=16),
    load=st.floats(),
    running=st.booleans(),
    receivers=st.integers(0, RECEIVERS_MAX),
    number=sixty_four_bits,
)
def test_a_heartbeats_size_tells_nothing(
    status: bytes, load: float, running: bool, receivers: int, number: int
) -> None:
    payload = msgspec.msgpack.encode(Heartbeat(status, load, running, receivers))
    name = UUID(int=number)
    datagram = Datagram(
        kind=Kind.HEARTBEAT, amphora=name, sequence=number, generation=number, payload=payload
    )
    assert len(encode(datagram, KEY)) == HEARTBEAT_BYTES
    assert f"The datagram has {HEARTBEAT_BYTES} bytes" in PAGE.read_text()


def examples() -> list[tuple[str, str]]:
    found = re.findall(r"```json (\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [(kind, text) for kind, text in found]


@pytest.mark.parametrize(("kind", "text"), examples())
def test_the_pages_examples_are_true(kind: str, text: str) -> None:
    said = json.loads(text)
    datagram = decode(bytes.fromhex(said["datagram"]), lambda _a: bytes.fromhex(said["key"]))
    assert datagram.kind is Kind[kind]
    assert str(datagram.amphora) == said["amphora"]
    assert (datagram.sequence, datagram.generation) == (said["sequence"], said["generation"])
    types = {Kind.HEARTBEAT: Heartbeat, Kind.EDGE: Edge, Kind.STATISTICS: Statistics}
    if datagram.kind is Kind.TASKS:
        assert datagram.payload == b""
    else:
        payload = msgspec.msgpack.decode(datagram.payload, type=types[datagram.kind])
        assert msgspec.json.decode(msgspec.json.encode(payload)) == said["payload"]


def test_the_page_has_an_example_of_each_kind_and_the_right_offsets() -> None:
    assert {kind for kind, _ in examples()} == {kind.name for kind in Kind}
    text = PAGE.read_text()
    assert f"| {HEADER.size} | n | payload |" in text
    assert f"| {HEADER.size}+n | {TAG_BYTES} | tag |" in text


def test_the_digest_is_of_the_whole_report() -> None:
    report = StatusReport(generation=1, haproxy_running=True)
    assert len(digest(report)) == 16
    assert digest(report) != digest(msgspec.structs.replace(report, generation=2))

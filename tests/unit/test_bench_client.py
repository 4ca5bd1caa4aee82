# SPDX-License-Identifier: Apache-2.0
"""The measuring client reads answers whole, however they come in pieces.

A figure would be too good if a client went on before all of an answer was there.
"""

import asyncio

import pytest

from bench.client import connected, member

HEAD = b"HTTP/1.1 201 Created\r\nX-Other: 7\r\nContent-Length: "
BODY = b'{"pool": {"id": "' + b"x" * 3000 + b'"}}\r\n\r\n'


@pytest.mark.asyncio
@pytest.mark.parametrize("cut", [1, len(HEAD), len(HEAD) + 6, len(HEAD) + 1000])
async def test_an_answer_is_whole_however_it_comes(cut: int) -> None:
    answers = [BODY, b"", BODY[:7]]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in answers:
            await reader.readuntil(b"\r\n\r\n")
            answer = HEAD + b"%d\r\n\r\n" % len(body) + body
            for piece in (answer[:cut], answer[cut:]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)  # lets the reader see the first piece alone
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        line = await connected(server.sockets[0].getsockname()[1])
        for body in answers:
            assert await line.ask(b"GET / HTTP/1.1\r\n\r\n") == (201, body)
        with pytest.raises(ConnectionResetError):
            await line.ask(b"GET / HTTP/1.1\r\n\r\n")
        line.close()


def test_members_have_an_address_each() -> None:
    addresses = {member(number)["address"] for number in range(12_000)}
    assert len(addresses) == 12_000

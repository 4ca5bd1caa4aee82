# SPDX-License-Identifier: Apache-2.0
"""What the command line says of an endpoint that speaks otherwise than its address has it."""

import asyncio
import ssl
from pathlib import Path

import pytest

from colonnade.cli.rest import Rest
from colonnade.domain.errors import Unreachable
from tests.certificates import made


async def refused(url: str) -> str:
    async with Rest(url) as rest:
        with pytest.raises(Unreachable) as unreachable:
            await rest.get("lbaas/loadbalancers")
    return unreachable.value.public


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    writer.close()


async def test_tls_and_plain_http_are_told_apart(tmp_path: Path) -> None:
    one = made("localhost")
    (tmp_path / "all.pem").write_text(one.pem)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(tmp_path / "all.pem")
    for context, wrong, says in (
        (None, "https", "it does not speak TLS; try http://{}"),
        (secure, "http", "it speaks TLS; use https://{}"),
        (secure, "https", "its certificate is not trusted"),
    ):
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
            place = "{}:{}".format(*server.sockets[0].getsockname())
            assert says.format(place) in await refused(f"{wrong}://{place}")


@pytest.mark.parametrize("url", ["127.0.0.1:9876", "ftp://127.0.0.1"])
async def test_an_address_without_a_scheme_of_ours_is_told(url: str) -> None:
    assert "begins with http:// or https://" in await refused(url)

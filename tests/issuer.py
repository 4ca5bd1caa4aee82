# SPDX-License-Identifier: Apache-2.0
"""A real issuer of certificates on loopback: Pebble, Let's Encrypt's ACME server for tests, with a
name server of its own beside it. Everything it knows ends with it.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from colonnade.cli.local.system import free_port
from colonnade.cli.waiting import until
from tests.certificates import authority, made

PEBBLE, NAME_SERVER = shutil.which("pebble"), shutil.which("pebble-challtestsrv")
needs_pebble = pytest.mark.skipif(
    not PEBBLE or not NAME_SERVER, reason="needs pebble (Debian package pebble)"
)
START_S = 30.0
# At once, and each name anew; but each seventh good nonce is refused, as an issuer may at any time.
QUICK = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", "PEBBLE_WFE_NONCEREJECT": "15"}


class Pebble(msgspec.Struct, frozen=True):
    directory: str
    ca_file: Path  # of its own address
    session: aiohttp.ClientSession
    names: str  # where the name server is told
    about: str

    async def lead(self, name: str, address: str) -> None:
        """Whoever asks for the name is given the address."""
        async with self.session.post(
            f"{self.names}/add-a", json={"host": name, "addresses": [address]}
        ) as answer:
            assert answer.status == 200

    async def root(self) -> str:
        """The certificate that all it issues hangs on."""
        async with self.session.get(f"{self.about}/roots/0", ssl=False) as answer:
            return await answer.text()


@asynccontextmanager
async def pebble(folder: Path, http_port: int = 80) -> AsyncIterator[Pebble]:
    """It asks names on `http_port`. What it says is in the folder."""
    assert PEBBLE is not None and NAME_SERVER is not None
    ca = authority("Issuer's own CA")
    own = made("localhost", ca)
    for file, text in (("ca.pem", ca.public), ("own.pem", own.public), ("key.pem", own.secret)):
        (folder / file).write_text(text)
    api, about, dns, tell = (f"127.0.0.1:{free_port()}" for _ in range(4))
    settings: Any = {
        "listenAddress": api,
        "managementListenAddress": about,
        "certificate": str(folder / "own.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": http_port,
        "tlsPort": 443,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    off = [word for kind in ("http01", "https01", "tlsalpn01") for word in (f"-{kind}", "")]
    none = ("-defaultIPv4", "", "-defaultIPv6", "")
    commands = (
        (NAME_SERVER, "-dns01", dns, "-management", tell, *off, *none),
        (PEBBLE, "-config", str(folder / "pebble.json"), "-dnsserver", dns, "-strict"),
    )
    running = []
    try:
        for argv in commands:
            with (folder / f"{Path(argv[0]).name}.log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    *argv, stdout=log, stderr=log, env={**os.environ, **QUICK}
                )
            running.append(process)
        async with aiohttp.ClientSession() as session:
            directory = f"https://localhost:{api.rpartition(':')[2]}/dir"
            for place in (directory, f"http://{tell}/"):
                await until(lambda: _answers(session, place), within_s=START_S, what=place)  # noqa: B023
            yield Pebble(
                directory, folder / "ca.pem", session, f"http://{tell}", f"https://{about}"
            )
    finally:
        for process in running:
            process.terminate()
            await process.wait()


async def _answers(session: aiohttp.ClientSession, place: str) -> bool:
    try:
        async with session.get(place, ssl=False):
            return True
    except aiohttp.ClientError:
        return False

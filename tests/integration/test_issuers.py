# SPDX-License-Identifier: Apache-2.0
"""What an issuer promises (`drivers/issuers/protocol.py`): a fake's word, and that of a real ACME
server on loopback, which asks a small web server of ours."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from colonnade.cli.local.system import free_port
from colonnade.drivers.issuers.acme import AcmeIssuer
from colonnade.drivers.issuers.protocol import Account, Issuer, NotIssued
from colonnade.drivers.secrets.ordered import AccountKey, Request
from colonnade.runtime.config import Acme
from tests.fakes.issuer import FakeIssuer
from tests.issuer import needs_pebble, pebble

NAMES = ("shop.example.test", "www.shop.example.test")


class Bench(msgspec.Struct, frozen=True):
    issuer: Issuer
    key: AccountKey
    lead: Callable[[str], Awaitable[None]]  # the name leads to who answers


@pytest_asyncio.fixture(params=["fake", pytest.param("acme", marks=needs_pebble)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    key = AccountKey.new()
    if request.param == "fake":
        fake = FakeIssuer()

        async def led(name: str) -> None:
            fake.led.add(name)

        yield Bench(fake, key, led)
        return

    async def answer(asked: web.Request) -> web.Response:
        return web.Response(text=f"{asked.match_info['token']}.{key.thumbprint}")

    port = free_port()
    application = web.Application()
    application.router.add_get("/.well-known/acme-challenge/{token}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with pebble(tmp_path, port) as server:

        async def lead(name: str) -> None:
            await server.lead(name, "127.0.0.1")

        settings = Acme(directory=server.directory, agree=True, ca_certificate=server.ca_file)
        yield Bench(AcmeIssuer(settings), key, lead)
    await runner.cleanup()


async def test_a_key_is_one_account_however_often_it_is_registered(bench: Bench) -> None:
    first = await bench.issuer.register(Account(bench.key.pem))
    again = await bench.issuer.register(Account(bench.key.pem))
    assert first.uri.startswith("https://")
    assert (again.uri, again.key_pem) == (first.uri, bench.key.pem)
    other = await bench.issuer.register(Account(AccountKey.new().pem))
    assert other.uri != first.uri


async def test_names_that_are_proved_have_a_certificate_for_the_key_of_the_request(
    bench: Bench,
) -> None:
    for name in NAMES:
        await bench.lead(name)
    account = await bench.issuer.register(Account(bench.key.pem))
    request = Request.new(NAMES)
    chain = await bench.issuer.issue(account, request.csr_pem, NAMES)
    leaf, issued_by, *_ = x509.load_pem_x509_certificates(chain.encode())
    shown = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(shown.get_values_for_type(x509.DNSName)) == sorted(NAMES)
    assert leaf.issuer == issued_by.subject
    key = load_pem_private_key(request.key_pem.encode(), None)
    assert leaf.public_key() == key.public_key()


async def test_a_name_that_leads_elsewhere_is_named_and_the_cure_too(bench: Bench) -> None:
    account = await bench.issuer.register(Account(bench.key.pem))
    lost = "lost.example.test"
    with pytest.raises(NotIssued, match=rf"The issuer says of {lost}: .*To do: let"):
        await bench.issuer.issue(account, Request.new([lost]).csr_pem, [lost])


async def test_an_issuer_that_is_not_there_is_told_with_its_address(tmp_path: Path) -> None:
    directory = f"https://127.0.0.1:{free_port()}/dir"
    issuer = AcmeIssuer(Acme(directory=directory, agree=True))
    with pytest.raises(NotIssued, match=rf"{directory} cannot be asked: .*To do: let"):
        await issuer.register(Account(AccountKey.new().pem))

# SPDX-License-Identifier: Apache-2.0
"""Certificates of amphorae, renewed in place: over the controller's real API, with real mutual
TLS, and with the agent's own code at the other end."""

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from yarl import URL

import colonnade
from colonnade.agent.controllers import Controllers, Expired, NobodyAnswers
from colonnade.agent.identity import Identity
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId
from colonnade.domain.lifecycle import State
from colonnade.protocol import lateness
from colonnade.protocol.messages import Renewing
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.listener import Bounds, accepting, protocols_of
from colonnade.runtime.sockets import tcp_listener
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work
from tests.contract.test_controller_amphora_api import served
from tests.world import AUTHORITY, CA, SEAL, World

DAY = 1.0


class Site:
    """A world, its controller's API on loopback, and agents that come to it."""

    def __init__(self, world: World, folder: Path, port: int) -> None:
        self.world = world
        self.folder = folder
        self.address = f"127.0.0.1:{port}"

    async def amphora(self, state: State) -> Amphora:
        return next(one for one in await self.world.rows() if one.state is state)

    async def agent(
        self, amphora_id: AmphoraId, days: float = DAY, key: bytes | None = None
    ) -> tuple[Identity, Controllers]:
        """The identity of an amphora, as its config drive has it, and its way to us."""
        drive = self.folder / amphora_id
        drive.mkdir(exist_ok=True)
        async with self.world.database.read() as connection:
            sealed = await amphora_rows.sealed_key(connection, amphora_id)
        own = SEAL.unseal(sealed, amphora_id) if sealed else bytes(32)
        (drive / "agent.pem").write_text(AUTHORITY.issue(amphora_id, days=days).pem)
        (drive / "ca.pem").write_text(AUTHORITY.trusted_pem)
        (drive / "heartbeat.key").write_text((key or own).hex())
        identity = Identity(amphora_id, drive)
        return identity, Controllers((self.address,), identity.for_servers)

    async def look_at(self, amphora: Amphora) -> None:
        """As the command does that waits for all to have taken a step."""
        async with self.world.database.transaction() as connection:
            await work.mark(connection, f"amphora:{amphora.id}")

    async def exchange(self, authority: Authority) -> None:
        """Another authority signs, or others are trusted: of the controller, too."""
        self.world.authority = authority
        (self.folder / "ca.pem").write_text(authority.trusted_pem)
        office = authority.issue("controller", days=DAY)
        (self.folder / "controller.pem").write_text(office.pem)


@pytest_asyncio.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    async with served(database, tmp_path) as (world, port):
        yield Site(world, tmp_path, port)


def text_of(identity: Identity) -> str:
    return identity.certificate.read_text()


async def test_a_fresh_certificate_is_left_alone(site: Site) -> None:
    identity, controllers = await site.agent((await site.amphora(State.SERVING)).id)
    assert not (await controllers.peers(identity.authorities())).renew


@pytest.mark.parametrize("said", ["%00", "x" * 64, "0" * 65, "0" * 63])
async def test_what_is_no_digest_is_refused_and_not_stored(site: Site, said: str) -> None:
    amphora = await site.amphora(State.SERVING)
    identity, controllers = await site.agent(amphora.id)
    await controllers.peers(identity.authorities())
    before = await site.amphora(State.SERVING)
    context = identity.for_servers()
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            URL(f"https://{site.address}/peers?authorities={said}", encoded=True),
            ssl=context,
            server_hostname="controller",
        ) as answer,
    ):
        assert answer.status == 400
    assert await site.amphora(State.SERVING) == before


async def test_an_agent_tells_its_release_and_one_that_tells_none_is_known_to(site: Site) -> None:
    amphora = await site.amphora(State.SERVING)
    assert amphora.agent_version is None
    assert (amphora.born_by, amphora.engine) == (colonnade.__version__, "haproxy")
    identity, controllers = await site.agent(amphora.id)
    await controllers.peers(identity.authorities())
    assert (await site.amphora(State.SERVING)).agent_version == colonnade.__version__
    for version, status in (("", 200), ("1.2.3.dev4%2Bg1", 200), ("1.2", 400), ("9" * 50, 400)):
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                URL(
                    f"https://{site.address}/peers?authorities={identity.authorities()}"
                    f"&version={version}",
                    encoded=True,
                ),
                ssl=identity.for_servers(),
                server_hostname="controller",
            ) as answer,
        ):
            assert answer.status == status, version
    assert (await site.amphora(State.SERVING)).agent_version == "1.2.3.dev4+g1"


async def test_one_past_half_of_its_life_is_renewed_and_the_new_one_is_used(site: Site) -> None:
    amphora = await site.amphora(State.SERVING)
    identity, controllers = await site.agent(amphora.id, days=0.002)
    assert (await controllers.peers(identity.authorities())).renew
    before = await site.amphora(State.SERVING)
    identity.renew(await controllers.renewal(identity.request()))
    assert not (await controllers.peers(identity.authorities())).renew
    after = await site.amphora(State.SERVING)
    assert before.cert_expiration is not None and after.cert_expiration is not None
    assert after.cert_expiration > before.cert_expiration, "what is in use is what is recorded"


async def test_what_is_offered_and_cannot_work_changes_nothing(site: Site) -> None:
    identity, controllers = await site.agent((await site.amphora(State.SERVING)).id)
    good = await controllers.renewal(identity.request())
    other = await controllers.renewal(identity.request())
    certificate, key = other.identity.split("-----BEGIN PRIVATE")[0], good.identity
    mixed = certificate + key[key.index("-----BEGIN PRIVATE") :]
    before = text_of(identity)
    for bad in ("", "nonsense", mixed):
        with pytest.raises(Exception, match="the new certificate cannot be used") as refused:
            identity.renew(type(good)(identity=bad, authorities=good.authorities))
        assert "PRIVATE" not in str(refused.value)
    assert text_of(identity) == before
    assert sorted(path.name for path in identity.certificate.parent.iterdir()) == [
        "agent.pem",
        "ca.pem",
        "heartbeat.key",
    ]


async def test_an_authority_is_exchanged_and_nobody_is_without_a_peer(site: Site) -> None:
    """The three steps of an exchange, as one amphora sees them."""
    amphora = await site.amphora(State.SERVING)
    identity, controllers = await site.agent(amphora.id)
    fresh = Authority.new()
    both = AUTHORITY.trusted_pem + fresh.certificate
    old = Authority(CA, both)

    await site.exchange(old)
    assert (await controllers.peers(identity.authorities())).renew
    identity.renew(await controllers.renewal(identity.request()))
    assert not (await controllers.peers(identity.authorities())).renew
    trusting = await site.amphora(State.SERVING)
    assert trusting.authorities == hashlib.sha256(both.encode()).hexdigest()
    assert trusting.issuer == AUTHORITY.name

    await site.exchange(Authority(fresh, both))
    assert (await controllers.peers(identity.authorities())).renew
    identity.renew(await controllers.renewal(identity.request()))
    assert (await controllers.peers(identity.authorities())).renew is False
    assert (await site.amphora(State.SERVING)).issuer == Authority(fresh).name

    await site.exchange(Authority(fresh))
    assert (await controllers.peers(identity.authorities())).renew
    identity.renew(await controllers.renewal(identity.request()))
    assert not (await controllers.peers(identity.authorities())).renew
    assert site.world.certificates.is_behind(await site.amphora(State.SERVING)) is False

    _, left_behind = await site.agent((await site.amphora(State.SPARE)).id)
    with pytest.raises(NobodyAnswers):
        await left_behind.peers("")


async def test_an_amphora_that_is_behind_is_told_to_ask(site: Site) -> None:
    spare = await site.amphora(State.SPARE)
    await site.look_at(spare)
    await site.world.settle()
    assert spare.id not in site.world.amphorae.notified, "it has all there is"
    await site.exchange(Authority(Authority.new()))
    await site.look_at(spare)
    await site.world.settle()
    assert spare.id in site.world.amphorae.notified


async def test_after_the_end_of_its_certificate_an_amphora_comes_back_by_its_key(
    site: Site,
) -> None:
    amphora = await site.amphora(State.SERVING)
    identity, controllers = await site.agent(amphora.id, days=-0.001)
    with pytest.raises(Expired):
        await controllers.bundle(0)
    with pytest.raises(Expired):
        await controllers.peers(identity.authorities())
    identity.renew(await controllers.renewal(identity.request()))
    assert not (await controllers.peers(identity.authorities())).renew
    assert await controllers.bundle(0) is not None


@pytest.mark.parametrize("flaw", ["no proof", "another key", "old", "of another", "nonsense"])
async def test_an_old_certificate_without_its_key_is_of_no_use(site: Site, flaw: str) -> None:
    amphora = await site.amphora(State.SERVING)
    identity, controllers = await site.agent(amphora.id, days=-0.001)
    now = time.time()
    told = {
        "no proof": "",
        "another key": lateness.proof(bytes(32), amphora.id, now),
        "old": lateness.proof(identity.key, amphora.id, now - 2 * lateness.PROOF_AGE_S_MAX),
        "of another": lateness.proof(identity.key, "another", now),
        "nonsense": "1" * 5000 + ".\0",
    }[flaw]
    with pytest.raises(NobodyAnswers):
        await controllers.renewal(Renewing(proof=told))


async def test_who_was_given_up_is_given_nothing(site: Site) -> None:
    """So a key that was stolen is of no use once its amphora was failed over."""
    amphora = await site.amphora(State.SERVING)
    identity, controllers = await site.agent(amphora.id)
    site.world.kill()
    await site.world.settle()
    with pytest.raises(NobodyAnswers):
        await controllers.renewal(identity.request())
    with pytest.raises(NobodyAnswers):
        await controllers.bundle(0)


async def test_a_stolen_certificate_gets_what_is_its_amphoras_and_no_more(site: Site) -> None:
    stolen, serving = await site.amphora(State.SPARE), await site.amphora(State.SERVING)
    identity, controllers = await site.agent(stolen.id)
    assert await controllers.bundle(0) is None, "what another serves is not for it"
    renewal = await controllers.renewal(identity.request())
    named = x509.load_pem_x509_certificate(renewal.identity.encode()).subject.rfc4514_string()
    assert stolen.id in named
    assert serving.id not in named


async def test_a_stolen_certificate_is_no_controllers(site: Site) -> None:
    """Whoever sits on a controller's address with it configures nobody."""
    stolen, victim = await site.amphora(State.SPARE), await site.amphora(State.SERVING)
    identity, _ = await site.agent(stolen.id)
    asked = []

    async def bundle(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get("/bundle", bundle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = tcp_listener("127.0.0.1", 0)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    own, _ = await site.agent(victim.id)
    try:
        async with accepting(listener, protocols_of(runner), identity.for_clients, Bounds()):
            with pytest.raises(NobodyAnswers):
                await Controllers((address,), own.for_servers).bundle(0)
    finally:
        await runner.cleanup()
    assert asked == []

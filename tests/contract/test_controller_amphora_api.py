# SPDX-License-Identifier: Apache-2.0
"""The controller's API for amphorae, over real mutual TLS on loopback."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from msgspec.structs import replace

from colonnade.controller.amphora_api import application
from colonnade.controller.clusters import Clusters
from colonnade.controller.log_places import Places
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import ProjectId, new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.domain.listeners import AccessLog
from colonnade.domain.log_targets import LogTarget, TargetType
from colonnade.protocol.bundle import Bundle, Interface, Pair
from colonnade.protocol.logs import LogCount, LogFile, LogPlaces, LogQuestion
from colonnade.protocol.messages import Peers, Report
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.config import Config
from colonnade.runtime.listener import Bounds, accepting, protocols_of
from colonnade.runtime.mtls import client_context, contexts_for_late_clients
from colonnade.runtime.sockets import tcp_listener
from colonnade.store.extras.log_targets import LOG_TARGETS, shipping
from colonnade.store.fleet import amphora_rows, daemons
from colonnade.store.postgres.database import Database
from colonnade.store.rows import flat_rows
from tests.world import AUTHORITY, SEAL, World

TRUSTED = AUTHORITY.trusted


class Site:
    """A world, and the API of its controller served somewhere on loopback."""

    def __init__(self, world: World, folder: Path, port: int) -> None:
        self.world = world
        self._folder = folder
        self._url = f"https://127.0.0.1:{port}"

    @asynccontextmanager
    async def ask(
        self, name: str, path: str, body: bytes | None = None, authority: Authority = AUTHORITY
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """With a certificate for this name."""
        context = client_context(identity(self._folder, name, authority), self._folder / "ca.pem")
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                "GET" if body is None else "POST",
                self._url + path,
                data=body,
                ssl=context,
                server_hostname="controller",
            ) as answer,
        ):
            yield answer


def identity(folder: Path, name: str, authority: Authority = AUTHORITY) -> Path:
    file = folder / f"{name}.pem"
    file.write_text(authority.issue(name, days=1).pem)
    return file


async def render(wanted: Cluster, interfaces: Sequence[Interface], _pair: Pair | None) -> Bundle:
    ports = [listener.protocol_port for b in wanted.load_balancers for listener in b.listeners]
    return Bundle(
        generation=wanted.generation,
        config=f"ports {ports}",
        frame="",
        interfaces=tuple(interfaces),
    )


@asynccontextmanager
async def served(database: Database, folder: Path) -> AsyncIterator[tuple[World, int]]:
    """A settled world whose controller's API answers at that port of loopback, with the identity
    that is in the folder."""
    config = Config(state_dir=folder, run_dir=folder, database_url="", spares=1)
    world = await World.begin(database, config)
    await world.settle()
    await world.create()
    await world.settle()
    clusters = Clusters(database, world.network, world.compute, world.amphorae)
    runner = web.AppRunner(
        application(database, clusters, render, Places(database, SEAL), world.certificates),
        access_log=None,
        shutdown_timeout=0.1,
    )
    await runner.setup()
    (folder / "ca.pem").write_text(AUTHORITY.trusted_pem)
    contexts = contexts_for_late_clients(identity(folder, "controller"), folder / "ca.pem")
    listener = tcp_listener("127.0.0.1", 0)
    port = listener.getsockname()[1]
    try:
        async with accepting(listener, protocols_of(runner), contexts, Bounds()):
            yield world, port
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    async with served(database, tmp_path) as (world, port):
        yield Site(world, tmp_path, port)


async def named(site: Site, state: State) -> str:
    return next(a.id for a in await site.world.rows() if a.state is state)


async def test_a_serving_amphora_is_given_what_it_lacks(site: Site) -> None:
    serving = await named(site, State.SERVING)
    async with site.ask(serving, "/bundle?generation=0") as answer:
        assert answer.status == 200
        bundle = msgspec.json.decode(await answer.read(), type=Bundle)
    assert bundle.generation == 1
    assert bundle.config == "ports [80]"
    assert [wire.is_default for wire in bundle.interfaces] == [True, False]
    async with site.ask(serving, "/bundle?generation=1") as answer:
        assert answer.status == 204


async def test_one_that_leaves_is_given_what_it_lacks_until_another_serves(
    site: Site, database: Database
) -> None:
    """A push may not have reached it, and its agent may begin anew, also with an empty folder."""
    leaving = await named(site, State.SERVING)
    await ask_to_leave(database, await site.world.rows(), leaving)
    assert await generation_given(site, leaving, 1) == 0
    assert await generation_given(site, leaving, 0) == 1
    await site.world.add_member()
    assert await generation_given(site, leaving, 1) == 2
    report = msgspec.json.encode(Report(generation=2, reason="unknown keyword"))
    async with site.ask(leaving, "/report", report) as answer:
        assert answer.status == 204
    failure = await site.world.failure()
    assert failure is not None and failure[:2] == (2, "Rejected")
    await site.world.settle()
    async with site.ask(leaving, "/bundle?generation=0") as answer:
        assert answer.status in (204, 403), "another serves"


async def ask_to_leave(database: Database, rows: Sequence[Amphora], amphora_id: str) -> None:
    (amphora,) = (one for one in rows if one.id == amphora_id)
    async with database.transaction() as connection:
        await amphora_rows.advance(connection, amphora, Event.ASKED_TO_LEAVE)


async def generation_given(site: Site, amphora_id: str, present: int) -> int:
    """0: none."""
    async with site.ask(amphora_id, f"/bundle?generation={present}") as answer:
        assert answer.status in (200, 204)
        body = await answer.read()
    return msgspec.json.decode(body, type=Bundle).generation if body else 0


async def test_a_spare_is_given_nothing(site: Site) -> None:
    async with site.ask(await named(site, State.SPARE), "/bundle") as answer:
        assert answer.status == 204


@pytest.mark.parametrize("name", ["api", "controller", "7d9c1b52-5a0e-4f2f-9a4e-0c3d1f6b8a21"])
async def test_whoever_is_no_amphora_of_ours_learns_nothing(site: Site, name: str) -> None:
    for path in ("/bundle", "/peers"):
        async with site.ask(name, path) as answer:
            assert answer.status == 403


async def test_a_certificate_of_another_authority_is_not_spoken_to(site: Site) -> None:
    serving = await named(site, State.SERVING)
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        async with site.ask(serving, "/bundle", authority=Authority(Authority.new())):
            pass


async def test_nonsense_is_refused_with_a_reason(site: Site) -> None:
    serving = await named(site, State.SERVING)
    async with site.ask(serving, "/bundle?generation=many") as answer:
        assert answer.status == 400
    async with site.ask(serving, "/report", b'{"generation": ') as answer:
        assert answer.status == 400
    async with site.ask(serving, "/report", b"x" * (2 * 1024 * 1024)) as answer:
        assert answer.status == 413


async def test_a_refusal_is_told_to_the_owner(site: Site) -> None:
    long = Report(generation=1, reason="unknown keyword " + "x" * 5000)
    async with site.ask(
        await named(site, State.SERVING), "/report", msgspec.json.encode(long)
    ) as answer:
        assert answer.status == 204
    failure = await site.world.failure()
    assert failure is not None
    generation, code, message = failure
    assert (generation, code) == (1, "Rejected")
    assert message == f"an amphora refused the configuration: {long.reason}"[:1000]


async def test_a_spare_cannot_speak_for_a_cluster(site: Site) -> None:
    body = msgspec.json.encode(Report(generation=1, reason="unknown keyword"))
    async with site.ask(await named(site, State.SPARE), "/report", body) as answer:
        assert answer.status == 204
    assert await site.world.failure() is None


async def test_peers_are_those_that_run(site: Site, database: Database) -> None:
    gone = daemons.Daemon(new_id(), daemons.Kind.HEALTH, "198.18.0.9:5555")
    for daemon in (
        daemons.Daemon(new_id(), daemons.Kind.CONTROLLER, "198.18.0.1:9442"),
        daemons.Daemon(new_id(), daemons.Kind.HEALTH, "198.18.0.1:5555"),
        gone,
    ):
        async with database.transaction() as connection:
            await daemons.register(connection, daemon)
    async with database.transaction() as connection:
        await daemons.forget(connection, gone)
    async with site.ask(await named(site, State.SPARE), f"/peers?authorities={TRUSTED}") as answer:
        peers = msgspec.json.decode(await answer.read(), type=Peers)
    assert peers == Peers(controllers=("198.18.0.1:9442",), receivers=("198.18.0.1:5555",))


async def test_places_for_logs_are_for_who_serves_the_listener_alone(
    site: Site, database: Database
) -> None:
    target = LogTarget(id=new_id(), type=TargetType.S3, url="https://s3.example.org", bucket="b")
    credentials = {"access_key": "AKID", "secret_key": "very-secret"}
    async with database.transaction() as connection:
        sealed = SEAL.seal(msgspec.json.encode(credentials), target.id)
        await flat_rows.insert(
            connection, LOG_TARGETS, target, project_id=ProjectId("p"), credentials=sealed
        )
    serving, spare = await named(site, State.SERVING), await named(site, State.SPARE)
    async with site.world.editing() as edit:
        (listener,) = edit.tree.listeners
    file = LogFile(listener=listener.id, sequence=5, begun_at=1e9, lines=3)
    count = LogCount(listener=listener.id, sent=4, dropped=1, failure="away")
    question = LogQuestion(files=(file, replace(file, listener="../x")), counts=(count,))

    async def places(name: str) -> list[str]:
        async with site.ask(name, "/log-places", msgspec.json.encode(question)) as answer:
            assert answer.status == 200
            body = await answer.read()
        assert b"very-secret" not in body
        return [place.url for place in msgspec.json.decode(body, type=LogPlaces).places]

    assert await places(serving) == ["", ""]  # it does not log yet
    async with site.world.editing() as edit:
        edit.tree = replace(edit.tree, access_log=AccessLog(target_id=target.id))
    url, other = await places(serving)
    assert other == ""
    path = f"https://s3.example.org/b/{edit.tree.id}/{listener.id}/2001/09/09/"
    assert url.startswith(f"{path}20010909T014640Z-{serving}-5.log.gz?X-Amz-")
    assert await places(spare) == ["", ""]
    async with database.read() as connection:
        kept = await flat_rows.get(connection, LOG_TARGETS, target.id)
    (told,) = shipping(kept)
    assert (told.listener_id, told.sent, told.dropped, told.failure) == (listener.id, 4, 1, "away")
    async with site.world.editing() as edit:
        edit.tree = edit.tree.with_listener(replace(listener, access_log=AccessLog()))
    assert await places(serving) == ["", ""]
    async with database.read() as connection:
        assert shipping(await flat_rows.get(connection, LOG_TARGETS, target.id)) == []

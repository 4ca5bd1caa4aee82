# SPDX-License-Identifier: Apache-2.0
"""The promises of notifications, asked of a real RabbitMQ, and read by OpenStack's own library."""

import asyncio
import contextlib
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiormq
import pytest
import pytest_asyncio
from msgspec.structs import replace
from structlog.testing import capture_logs

from colonnade.cli.local.identities import ensure_master_key
from colonnade.controller.loop import Loop
from colonnade.domain.errors import Broken, Unreachable
from colonnade.notifier.bus import RabbitMQ, places_of
from colonnade.notifier.notifications import Notifications as Telling
from colonnade.runtime.config import Config, Notifications, write_config
from colonnade.store.extras import notifications
from colonnade.store.postgres.database import Database
from tests.api_server import eventually
from tests.contract.api_client import serving
from tests.contract.test_notifications import (  # noqa: F401 - asked of a real one too
    bench,
    test_a_life_is_told_as_octavia_tells_it,
    test_events_that_were_forgotten_hold_up_nothing,
    test_the_bus_is_told_as_it_happens_and_after_a_pause,
    test_what_is_below_a_load_balancer_is_no_change_of_it,
    test_what_is_served_before_is_known,
    test_what_may_not_have_come_comes_again_with_the_same_ids,
    test_while_the_bus_is_away_nothing_is_lost,
)
from tests.fakes.bus import read
from tests.openstack.environments import installed
from tests.openstack.stores import rabbitmq, skip_without

PASSWORD = "sentinel-bus-4c21"
# Reads as many notifications as it is told, with OpenStack's own library.
LISTENER = """
import json, sys, threading
import oslo_messaging
from oslo_config import cfg
url, exchange, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
conf = cfg.ConfigOpts()
conf([], project="reader", default_config_files=[], default_config_dirs=[])
transport = oslo_messaging.get_notification_transport(conf, url=url)
conf.set_override("control_exchange", exchange)
done = threading.Event()
class Endpoint:
    seen = 0
    def info(self, context, publisher_id, event_type, payload, metadata):
        print(json.dumps([context, publisher_id, event_type, payload, metadata]), flush=True)
        self.seen += 1
        if self.seen >= wanted:
            done.set()
target = oslo_messaging.Target(topic="notifications", exchange=exchange)
listener = oslo_messaging.get_notification_listener(
    transport, [target], [Endpoint()], executor="threading")
listener.start()
print("ready", flush=True)
done.wait(60)
listener.stop()
"""


class Relay:
    """Leads to the broker, or to nobody: the way there, as it may be cut."""

    def __init__(self, url: str) -> None:
        (self._to,) = places_of(url)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None, "it is open"
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onto = await asyncio.open_connection(self._to.host, self._to.port)
        self._open |= {writer, onto}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(_copy(reader, onto), _copy(there, writer))
        self._open -= {writer, onto}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while words := await reader.read(65536):
            writer.write(words)
            await writer.drain()
    finally:
        writer.close()


class Exchange:
    """A broker of its own for a test: an exchange that nobody else uses, and its queue."""

    def __init__(self, url: str, relay: Relay) -> None:
        self.url = url
        self.settings = Notifications(
            exchange=f"of-{secrets.token_hex(4)}",
            topics=(f"topic-{secrets.token_hex(4)}",),
            timeout_s=20.0,
        )
        self._relay = relay

    def bus(self, url: str = "") -> RabbitMQ:
        (place,) = places_of(self.url)
        there = f"rabbit://{place.user}:{place.password}@127.0.0.1:{self._relay.port}/"
        return RabbitMQ(places_of(url or there), self.settings)

    async def leave(self) -> None:
        await self._relay.cut()

    async def come_back(self) -> None:
        await self._relay.open()

    async def messages(self) -> list[Any]:
        """All that is in the queue now; it is taken out."""
        (place,) = places_of(self.url)
        found = []
        queue = f"{self.settings.topics[0]}.info"
        async with aiormq.connect(place.url) as connection:
            channel = await connection.channel()
            try:
                await channel.queue_declare(queue, passive=True)
            except aiormq.ChannelNotFoundEntity:
                return []  # the first message makes it
            while (one := await channel.basic_get(queue, no_ack=True)).body:
                assert one.header is not None
                properties = one.header.properties
                assert properties.delivery_mode == 2
                assert properties.content_type == "application/json"
                found.append(read(properties.message_id, one.body))
        return found


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    skip_without()
    with rabbitmq(tmp_path_factory.mktemp("bus") / "rabbitmq") as url:
        yield url


@pytest_asyncio.fixture
async def broker(rabbit: str) -> AsyncIterator[Exchange]:
    relay = Relay(rabbit)
    await relay.open()
    yield Exchange(rabbit, relay)
    await relay.cut()


async def test_openstacks_own_library_reads_what_is_told(rabbit: str, database: Database) -> None:
    """It has bound its queue before we come, so the exchange is the one that it made."""
    python = installed("messaging") / "python"
    settings = Notifications(exchange=f"of-{secrets.token_hex(4)}")
    argv = [str(python), "-c", LISTENER, rabbit, settings.exchange, "3"]
    reader = await asyncio.create_subprocess_exec(
        *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert reader.stdout is not None and reader.stderr is not None
    ready = await reader.stdout.readline()
    assert ready == b"ready\n", (await reader.stderr.read()).decode()
    async with serving(database) as api, RabbitMQ(places_of(rabbit), settings) as bus:
        telling = Telling(database, bus)
        await telling.begin()
        made = await api.load_balancer(name="shop", project_id="p")
        await telling.reconcile("bus")
        await api.put(f"loadbalancers/{made['id']}", {"loadbalancer": {"name": "other"}})
        await telling.reconcile("bus")
        await api.delete(f"loadbalancers/{made['id']}")
        await telling.reconcile("bus")
    output, errors = await reader.communicate()
    seen = [json.loads(line) for line in output.splitlines()]
    assert [one[2].split(".")[2] for one in seen] == ["create", "update", "delete"], errors.decode()
    context, publisher, _, payload, metadata = seen[0]
    assert context["project_id"] == "p" and publisher is None
    assert payload["id"] == made["id"] and payload["name"] == "shop"
    assert metadata.keys() == {"message_id", "timestamp"}


async def test_several_brokers_are_tried_in_turn(broker: Exchange) -> None:
    (place,) = places_of(broker.url)
    nobody, password = "guest:guest@127.0.0.1:9", place.password
    bus = broker.bus(f"rabbit://{nobody},guest:{password}@{place.host}:{place.port}/")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9: Connection refused"):
        await bus.publish("one", b"{}")
    await bus.publish("one", b"{}")
    assert await bus.reached() == f"{place.name} lets guest in"
    await bus.close()


async def test_a_refusal_says_what_to_do_and_no_password(
    broker: Exchange, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    place = urlsplit(broker.url)
    wrong = f"rabbit://guest:{PASSWORD}@{place.hostname}:{place.port}/"
    with capture_logs() as logs:
        bus = broker.bus(wrong)
        with pytest.raises(Broken, match="refuses user and password") as raised:
            await bus.publish("one", b"{}")
        # As the loop tells it, too.
        async with serving(database) as api:
            telling = Telling(database, bus)
            await telling.begin()
            await api.load_balancer()
            async with database.transaction() as connection:
                await notifications.sweep(connection)
            loop = asyncio.create_task(Loop(database, {notifications.KIND: telling}).run())

            async def is_told() -> bool:
                return any(one["event"] == "broken" for one in logs)

            await eventually(is_told)
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
    told = f"{logs} {caplog.text} {raised.value} {raised.value.__cause__!r}"
    assert PASSWORD not in told
    assert "refuses user and password" in str(logs)


async def test_a_user_without_rights_is_told_which_ones_it_lacks(broker: Exchange) -> None:
    """`amq.` is kept for the broker itself, whoever asks."""
    broker.settings = Notifications(exchange=f"amq.{secrets.token_hex(4)}", timeout_s=20.0)
    bus = broker.bus()
    with pytest.raises(Broken, match=r"write and read are needed \(ACCESS_REFUSED"):
        await bus.publish("one", b"{}")
    await bus.close()


async def test_a_notifier_that_is_killed_goes_on_where_it_was(
    broker: Exchange, database: Database, database_url: str, tmp_path: Path
) -> None:
    """Real processes, killed at random moments, while load balancers come and go."""
    file = tmp_path / "transport"
    file.write_text(broker.url)
    file.chmod(0o600)
    config = _config(tmp_path, database_url, broker, file)
    async with serving(database) as api:
        async with _notifier(config):
            await _has_begun(database)
        made = []
        for number in range(12):
            async with _notifier(config) as process:
                made += [(await api.load_balancer())["id"] for _ in range(3)]
                await asyncio.sleep(0.15 * (number % 5))
                process.send_signal(signal.SIGKILL)
        async with _notifier(config):

            async def is_told() -> bool:
                async with database.read() as connection:
                    return await notifications.lag_s(connection) == 0

            await eventually(is_told, within_s=60)
    seen = await broker.messages()
    once = list(dict.fromkeys((one["message_id"], one["payload"]["id"]) for one in seen))
    assert [one[1] for one in once] == made, "each, in order, and again only with the same ids"


def _config(folder: Path, database_url: str, broker: Exchange, file: Path) -> Path:
    ensure_master_key(folder / "pki")
    place = folder / "colonnade.toml"
    told = replace(broker.settings, transport_url_file=file)
    config = Config(state_dir=folder, run_dir=folder, database_url=database_url, notifications=told)
    write_config(place, config)
    return place


@asynccontextmanager
async def _notifier(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A real one, until it is left."""
    argv = [sys.executable, "-m", "colonnade", "notifier", "--config", str(config)]
    with config.with_name("notifier.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
    assert PASSWORD not in config.with_name("notifier.log").read_text()


async def _has_begun(database: Database) -> None:
    async def has_begun() -> bool:
        async with database.read() as connection:
            cursor = await connection.execute("SELECT FROM notifications")
            return await cursor.fetchone() is not None

    await eventually(has_begun, within_s=60)

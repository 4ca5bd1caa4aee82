# SPDX-License-Identifier: Apache-2.0
"""`colonnade notifier`: what wakes, what sends, what tells the message bus, what orders
certificates and looks after copies of a key manager's, and where it says how it does, put together.

Any number may run, on one host and on several; each webhook and each certificate is one key of
work, and so is the bus. It has no rights but to the database, and is the only process of ours that
calls out.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from colonnade.controller.loop import Loop, Reconciler
from colonnade.domain.ids import new_id
from colonnade.domain.webhooks import Reach
from colonnade.drivers.issuers.acme import AcmeIssuer
from colonnade.drivers.secrets.barbican import key_manager_of
from colonnade.drivers.secrets.database import Seal
from colonnade.notifier.bus import bus_of
from colonnade.notifier.copies import Copies
from colonnade.notifier.deliveries import Deliveries
from colonnade.notifier.metrics import Told
from colonnade.notifier.notifications import Notifications
from colonnade.notifier.orders import Orders
from colonnade.notifier.posting import Poster
from colonnade.notifier.waking import wake_for_ever
from colonnade.runtime import metrics, sd_notify
from colonnade.runtime.config import Config, Webhooks
from colonnade.runtime.logging import configure
from colonnade.runtime.termination import until_told
from colonnade.store.extras import notifications
from colonnade.store.fleet import daemons
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.lending import reached
from colonnade.store.secrets import copies, orders

AT_ONCE: Final = 64  # messages on their way; of them half to those that failed of late
LOOK_UPS: Final = 96  # of names, each in a thread: more than messages, for some go on alone
# A name server that hangs holds a thread no longer than this.
RESOLVER: Final = "timeout:2 attempts:2"

log = structlog.get_logger()


async def run(config: Config) -> None:
    """Until SIGTERM or SIGINT."""
    configure("notifier", level=config.log_level)
    os.environ.setdefault("RES_OPTIONS", RESOLVER)
    await until_told(_work(config))


async def _work(config: Config) -> None:
    seal = Seal.from_file(config.pki_dir / "master.key")
    settings = config.webhooks
    reach = Reach.of(settings.allowed, (*settings.denied, *config.own_addresses))
    bus = bus_of(config.notifications)
    listener = metrics.listener_of(config.metrics, "notifier")
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.when_there(stack.enter_context(reached(config)))
        stack.push_async_callback(database.close)
        sources = [metrics.own, Told(database).stands, database.families]
        await stack.enter_async_context(metrics.told(config, "notifier", listener, sources))
        here = daemons.Daemon(new_id(), daemons.Kind.NOTIFIER, socket.gethostname())
        await stack.enter_async_context(daemons.registered(database, here))
        await stack.enter_async_context(sd_notify.telling())
        log.info("ready")
        more: dict[str, Reconciler] = {
            orders.KIND: Orders(database, seal, AcmeIssuer(config.acme), config.acme.lack)
        }
        key_manager = key_manager_of(config)
        if key_manager is not None:
            stack.push_async_callback(key_manager.close)
            looks = Copies(database, seal, key_manager, config.barbican.look_s)
            more[copies.KIND] = looks
        if bus is not None:
            stack.push_async_callback(bus.close)
            telling = Notifications(database, bus)
            await telling.begin()
            more[notifications.KIND] = telling
        async with database.transaction() as connection:
            await orders.mark_all(connection)
            if key_manager is not None:
                await copies.mark_all(connection)
        await send_for_ever(database, seal, reach, settings, more)


async def send_for_ever(
    database: Database,
    seal: Seal,
    reach: Reach,
    settings: Webhooks,
    more: Mapping[str, Reconciler] | None = None,
) -> None:
    """Until cancelled. `more`: what else has to be done out there, by kind of work."""
    subscribers = [notifications] if notifications.KIND in (more or {}) else []
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LOOK_UPS, "look-up"))
    async with Poster(reach, settings.timeout_s) as poster:
        deliveries = Deliveries(database, seal, poster, settings)
        loop = Loop(database, {"webhook": deliveries, **(more or {})}, at_once=AT_ONCE)
        async with asyncio.TaskGroup() as group:
            group.create_task(loop.run())
            group.create_task(wake_for_ever(database, more=subscribers))

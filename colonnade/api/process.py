# SPDX-License-Identifier: Apache-2.0
"""`colonnade api`: one process that serves the application until it is told to stop.

Granian accepts and parses in threads of its own; handlers run in this process's one event loop,
which is lighter than a supervisor with a worker. The process keeps no state, so any number of
them may run: several on one address are `runtime/workers.py`'s affair.
"""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import msgspec
import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from colonnade.api.app import counts_of, create_app
from colonnade.api.http.call import Site
from colonnade.api.http.open_requests import OpenRequests
from colonnade.api.http.request_counts import RequestCounts
from colonnade.api.identity.hosts import Hosts
from colonnade.api.identity.modes import check_identity, identity_of, policy_of
from colonnade.api.identity.rates import Rates
from colonnade.api.server.binding import check_address
from colonnade.domain.errors import Broken
from colonnade.domain.fleet import Topology
from colonnade.domain.webhooks import Reach
from colonnade.drivers.chosen import chosen_network, is_in_cloud
from colonnade.drivers.network.protocol import NetworkDriver
from colonnade.drivers.secrets.barbican import key_manager_of
from colonnade.drivers.secrets.database import Seal
from colonnade.providers.enabled import Ours, enabled_providers
from colonnade.providers.provider import Words
from colonnade.runtime import logging, metrics, sd_notify
from colonnade.runtime.config import NO_AUTH, Api, Config
from colonnade.runtime.sockets import is_loopback
from colonnade.runtime.system_programs import can_serve_pairs
from colonnade.runtime.workers import run_workers
from colonnade.store.fleet.failovers import Rules
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.lending import reached

BACKLOG: Final = 1024
POOL_MAX: Final = 8
GRACE_S: Final = 3.0  # for requests that are being answered, when told to stop
FILES_BESIDE: Final = 256  # what the process opens beside connections of callers
NOTED_S: Final = 2.0
GARBAGE: Final = 100_000  # objects between collections; a list of 1000 makes some 30 000

log = structlog.get_logger()


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, and end the process. Raises Broken when the configuration
    cannot be served."""
    logging.configure("api", level=config.log_level)
    check_identity(config)
    key_manager_of(config)  # as what follows: what is wrong is told now, and once
    check_address(config.api)
    is_in_cloud(config)  # raises for what cannot be served
    policy_of(config.api)
    if not is_loopback(config.api.host):
        log.warning("tokens come in clear text: put TLS before this address", host=config.api.host)
    _allow_connections(config.api.connections_max)
    # Before there are workers: they count, and tell of it, together.
    told = metrics.listener_of(config.metrics, "api"), counts_of(config.api.workers)
    if config.api.workers == 1:
        asyncio.run(run(config, told))
    else:

        def work(number: int, stop: socket.socket) -> None:
            told[1].of_worker(number)
            asyncio.run(run(config, told, stop))

        run_workers(config.api.workers, work)
    # Granian's threads live on; one that meets an interpreter being torn down aborts the process.
    sys.stderr.flush()
    os._exit(0)


async def run(
    config: Config,
    told: tuple[socket.socket | None, RequestCounts],
    stop: socket.socket | None = None,
) -> None:
    """Serve in this process until SIGTERM or SIGINT, or until `stop` is readable. `told`: where
    Prometheus asks, and what is counted for it."""
    listener, counts = told
    async with AsyncExitStack() as stack:
        url = stack.enter_context(reached(config))
        database = await Database.when_there(url, pool_max=POOL_MAX)
        stack.push_async_callback(database.close)
        network = await stack.enter_async_context(chosen_network(config, "api"))
        site = msgspec.structs.replace(_site(config, database, network), counts=counts)
        stack.push_async_callback(site.identity.close)
        if site.key_manager is not None:
            stack.push_async_callback(site.key_manager.close)
        stack.callback(asyncio.create_task(_note(site, counts)).cancel)
        # What a worker says of itself is not what another would say.
        alone = [metrics.own] if config.api.workers == 1 else []
        async with metrics.told(config, "api", listener, [*alone, counts.families]):
            await _serve(site, config.api, stop)


async def _note(site: Site, counts: RequestCounts) -> None:
    """For ever: who is asked is another worker, mostly."""
    while True:
        counts.note(site.open_requests.held, site.database.pool())
        await asyncio.sleep(NOTED_S)


def _site(config: Config, database: Database, network: NetworkDriver | None) -> Site:
    api = config.api
    providers = enabled_providers(
        api.enabled_providers,
        default=api.default_provider,
        network=network,
        noop=api.noop,
        ours=Ours(
            templates_dir=config.templates_dir,
            # What a cloud's image has is not on this machine.
            serves_pairs=is_in_cloud(config) or can_serve_pairs(config.keepalived),
        ),
    )
    words = Words(
        providers=api.provider_descriptions,
        flavors=api.flavor_capabilities,
        zones=api.availability_zone_capabilities,
    )
    return Site(
        database=database,
        providers=providers.in_words(words),
        default_topology=_topology(api.default_topology),
        network=network,
        identity=identity_of(config, database),
        policy=policy_of(api),
        hosts=Hosts((api.host, *api.allowed_hosts) if api.auth == NO_AUTH else None),
        open_requests=OpenRequests(of_project=api.held_per_project, of_token=api.held_per_token),
        rates=Rates(api.rate_per_s, burst=api.rate_burst),
        body_s_max=api.body_timeout_s,
        seal=_seal(config),
        quotas=config.quotas,
        rules=Rules(heartbeats=config.heartbeats, failovers=config.failovers),
        reach=Reach.of(config.webhooks.allowed, (*config.webhooks.denied, *config.own_addresses)),
        key_manager=key_manager_of(config),
        acme=config.acme,
    )


def _topology(name: str) -> Topology:
    """Raises Broken."""
    try:
        return Topology(name)
    except ValueError as error:
        raise Broken(f"default_topology is {name!r}, not one of {', '.join(Topology)}") from error


def _seal(config: Config) -> Seal | None:
    """None where nobody made a master key: then nothing secret is kept."""
    file = config.pki_dir / "master.key"
    return Seal.from_file(file) if file.exists() else None


def _allow_connections(number: int) -> None:
    """Each takes a file, and where a process may have few, it may have more if it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + FILES_BESIDE
    if hard != resource.RLIM_INFINITY and wanted > hard:
        log.warning("fewer connections than configured", files=hard, wanted=wanted)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(site: Site, api: Api, stop: socket.socket | None) -> None:
    server = Server(
        create_app(site),
        address=api.host,
        port=api.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=api.connections_max,
        http1_settings=HTTP1Settings(header_read_timeout=round(api.header_timeout_s * 1000)),
        log_enabled=False,
    )
    # What lives as long as the process need not be looked at by each collection.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if stop is not None:
        loop.add_reader(stop.fileno(), stopping.set)
    stopped = asyncio.create_task(stopping.wait())
    log.info("serving", host=api.host, port=api.port)
    async with sd_notify.telling():
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        server.stop()  # type: ignore[no-untyped-call]
    # Whoever listens to a stream or sends its body slowly is not waited for any longer.
    await asyncio.wait({serving}, timeout=GRACE_S)
    loop.set_exception_handler(_without_late_words)
    serving.cancel()
    stopped.cancel()
    with suppress(asyncio.CancelledError):
        await serving


def _without_late_words(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Granian tells its task when the last connection has gone, though nobody waits any more."""
    if not isinstance(context.get("exception"), asyncio.InvalidStateError):
        loop.default_exception_handler(context)

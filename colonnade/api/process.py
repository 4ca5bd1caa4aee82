# SPDX-License-Identifier: Apache-2.0
"""`colonnade api`: one process that serves the application until it is told to stop.

Granian accepts and parses in threads of its own; handlers run in this process's one event loop,
which is lighter than a supervisor with a worker. The process keeps no state, so any number of
them may run, each on an address of its own.
"""

import asyncio
import gc
import ipaddress
import signal
import socket
from contextlib import suppress
from typing import Final

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from colonnade.api.app import create_app
from colonnade.api.call import Site
from colonnade.domain.errors import Broken
from colonnade.drivers.network.namespaces.client import NetworkClient
from colonnade.providers.enabled import enabled_providers
from colonnade.runtime import logging
from colonnade.runtime.config import Api, Config
from colonnade.store.database import Database

BACKLOG: Final = 1024
POOL_MAX: Final = 8
GARBAGE: Final = 100_000  # objects between collections; a list of 1000 makes some 30 000

log = structlog.get_logger()


async def run(config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises Broken when the configuration cannot be served."""
    logging.configure("api", level=config.log_level)
    check_address(config.api)
    database = await Database.when_there(config.database_url, pool_max=POOL_MAX)
    network = _network(config)
    try:
        providers = enabled_providers(
            config.api.enabled_providers, default=config.api.default_provider, network=network
        )
        site = Site(
            database=database, providers=providers, network=network, quotas=config.quotas
        )
        await _serve(site, config.api)
    finally:
        await database.close()
        if network is not None:
            await network.close()


def serve(config: Config) -> None:
    asyncio.run(run(config))


def check_address(api: Api) -> None:
    """Raises Broken for an address where this API must not or cannot listen."""
    if api.auth != "none":
        raise Broken(f"auth '{api.auth}' is not known; this version has 'none' alone")
    if not _is_loopback(api.host):
        raise Broken(
            f"auth 'none' lets in everybody who reaches the API, so it listens on loopback alone; "
            f"{api.host} is not loopback"
        )
    if api.workers != 1:
        raise Broken("this version serves with one worker; start more processes instead")
    with socket.socket(socket.AF_INET6 if ":" in api.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((api.host, api.port))
        except OSError as error:
            raise Broken(f"cannot listen on {api.host}:{api.port}: {error.strerror}") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _network(config: Config) -> NetworkClient | None:
    """None: no network service is configured, which suffices for the noop provider."""
    if not config.network_url:
        return None
    pki = config.pki_dir
    return NetworkClient(config.network_url, pki / "api.pem", pki / "ca.pem")


async def _serve(site: Site, api: Api) -> None:
    server = Server(
        create_app(site),
        address=api.host,
        port=api.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
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
    stopped = asyncio.create_task(stopping.wait())
    log.info("serving", host=api.host, port=api.port)
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        server.stop()  # type: ignore[no-untyped-call]
    with suppress(asyncio.CancelledError):
        await serving
    stopped.cancel()

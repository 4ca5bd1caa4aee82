# SPDX-License-Identifier: Apache-2.0
"""`colonnade network`: the only process with rights over the network.

It runs inside the lab and serves the network driver, the compute driver and the lab bench to
the few processes that have a certificate for it. Machines outlive it; started again, it finds
them. It has never heard of a load balancer.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from colonnade.domain.errors import Broken
from colonnade.drivers.compute.namespaces import image
from colonnade.drivers.compute.namespaces.amphorae import AGENT, Amphorae, AmphoraPlan
from colonnade.drivers.compute.namespaces.kept import Kept
from colonnade.drivers.network.namespaces import groups, physical
from colonnade.drivers.network.namespaces.address_book import TRANSIT, AddressBook
from colonnade.drivers.network.namespaces.address_files import AddressFiles
from colonnade.drivers.network.namespaces.cables import Cables
from colonnade.drivers.network.namespaces.fabric import Fabric
from colonnade.drivers.network.namespaces.host_network import HostNetwork
from colonnade.drivers.network.namespaces.hosts import Hosts
from colonnade.drivers.network.namespaces.lab import HOST_NETWORK, PRIVATE_FOLDER, SOCKET
from colonnade.drivers.network.namespaces.links import Links
from colonnade.drivers.network.namespaces.machines import Machines
from colonnade.drivers.network.namespaces.networks import Networks
from colonnade.drivers.network.namespaces.port_forwards import PortForwards
from colonnade.drivers.network.namespaces.route_book import RouteBook
from colonnade.drivers.network.namespaces.routing import Routing
from colonnade.drivers.network.namespaces.uplinks import Uplinks
from colonnade.drivers.network.namespaces.wire import UNIX
from colonnade.drivers.network_daemon.routes import Routes
from colonnade.runtime import host_ids, metrics, sd_notify
from colonnade.runtime.config import Config
from colonnade.runtime.haproxy_binary import find_haproxy
from colonnade.runtime.host_ids import HostIds
from colonnade.runtime.listener import Bounds, accepting, protocols_of
from colonnade.runtime.mtls import server_contexts
from colonnade.runtime.sockets import tcp_listener
from colonnade.runtime.system_programs import find_bird, find_keepalived

CLOSING_S_MAX = 2.0
KEPT = "network/amphorae"  # below the state folder
IMAGE = "image"  # below the lab's private folder: what amphorae see of the machine
log = structlog.get_logger()


async def run(config: Config, agent: Sequence[str] = AGENT) -> None:
    """Serve until TERM or INT. `agent`: another than our own, for tests."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    plan = _plan(config, agent)  # first: threads that there are already would not see the image
    links = Links()
    try:
        amphorae, routes = await _furnish(config, links, plan)
        listener = metrics.listener_of(config.metrics, "network")
        sources = [metrics.own, routes.families]
        telling = metrics.told(config, "network", listener, sources)
        keeping = _keeping(amphorae)
        async with keeping, _serving(config, routes), telling, sd_notify.telling():
            log.info("network daemon serves", url=url_of(config))
            await stop.wait()
    finally:
        links.close()


def url_of(config: Config) -> str:
    """Where the daemon of this configuration is reached."""
    return config.network_url or f"{UNIX}{config.run_dir / SOCKET}"


async def _furnish(config: Config, links: Links, plan: AmphoraPlan) -> tuple[Amphorae, Routes]:
    """Networks, and all amphorae that there were: whoever asks afterwards finds them."""
    folder = config.run_dir / PRIVATE_FOLDER
    storage = AddressFiles(config.state_dir / "network")
    book = AddressBook(storage)
    host = _host_network(config)
    own = physical.records_of(config.network, await host.facts()) if host else []
    book.load([*storage.networks(), *own, TRANSIT], storage.ports())
    machines = Machines(folder / "machines", _groups(config))
    machines.load()
    fabric = Fabric(links, folder)
    known = RouteBook(book, storage)
    known.load(storage.routes())
    forwards = PortForwards(book, storage, host)
    forwards.load(storage.forwards())
    uplinks = Uplinks(host, book, forwards)
    networks = Networks(book, fabric, machines, Routing(known, book, fabric), uplinks)
    kept = Kept(config.state_dir / KEPT, is_wanted=config.keep_amphorae, seats=machines.seats)
    kept.load()
    amphorae = Amphorae(machines, networks, fabric, plan, kept)
    await networks.furnish(config.lb_network.address, amphorae.users_returning())
    hosts = Hosts(machines, book, fabric)
    await hosts.furnish()
    await amphorae.restore()
    return amphorae, Routes(networks, amphorae, hosts)


@contextlib.asynccontextmanager
async def _keeping(amphorae: Amphorae) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(amphorae.keep())
        try:
            yield
        finally:
            keeping.cancel()


def _host_network(config: Config) -> HostNetwork | None:
    """None without networks of the machine's own. Raises Broken where its network was not given."""
    given = os.environ.pop(HOST_NETWORK, "")
    if not config.network:
        return None
    if not given:
        raise Broken("the configuration has [[network]], and networks of the machine need root")
    return HostNetwork(Cables(int(given)), config.run_dir)


def _plan(config: Config, agent: Sequence[str]) -> AmphoraPlan:
    """Raises Broken when the machine lets no amphora be made."""
    ids = host_ids.of(config.state_dir)
    if ids is not None:
        image.check_readable_by_all()
    place = config.run_dir / PRIVATE_FOLDER / IMAGE
    programs = [
        Path(find_haproxy(config.haproxy)),
        find_keepalived(config.keepalived),
        find_bird(config.bird),
    ]
    needed = [file for program in programs if program for file in image.needs_of(program)]
    image.build(place, needed, hidden=(config.state_dir, config.run_dir))
    return AmphoraPlan(image=place, agent=agent, ids=ids, processes=config.amphora_processes)


def _groups(config: Config) -> groups.Groups:
    bounds = groups.Bounds(
        memory_bytes=config.amphora_memory_mib * groups.MIB, processes=config.amphora_processes
    )
    found = groups.found(groups.name_of(config.run_dir), bounds)
    if not found.are_there:
        log.warning("no control group can be written: the memory of amphorae has no limit")
    return found


@contextlib.asynccontextmanager
async def _serving(config: Config, routes: Routes) -> AsyncIterator[None]:
    pki = config.pki_dir
    contexts = server_contexts(pki / "network.pem", pki / "ca.pem")
    runner = web.AppRunner(
        routes.application(), access_log=None, shutdown_timeout=CLOSING_S_MAX, keepalive_timeout=300
    )
    await runner.setup()
    url = url_of(config)
    try:
        async with contextlib.AsyncExitStack() as stack:
            if url.startswith(UNIX):
                place = Path(url.removeprefix(UNIX))
                listener = _listen(place, host_ids.of(config.state_dir))
                stack.callback(_unlink_own, place, place.stat().st_ino)
            else:
                parts = urlsplit(url)
                listener = tcp_listener(parts.hostname or "", parts.port or 0)
            bounds = Bounds(of_one_peer=256)
            await stack.enter_async_context(
                accepting(listener, protocols_of(runner), contexts, bounds)
            )
            yield
    finally:
        await runner.cleanup()


def _unlink_own(place: Path, inode: int) -> None:
    """Another daemon may listen there by now, when this one's end was not waited for."""
    with contextlib.suppress(FileNotFoundError):
        if place.stat().st_ino == inode:
            place.unlink()


def _listen(path: Path, ids: HostIds | None) -> socket.socket:
    """A socket that only its owner, and the control plane, may open, from the first moment on."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    if ids is not None:
        os.chown(path, os.geteuid(), ids.control)
        path.chmod(0o660)
    return listener

# SPDX-License-Identifier: Apache-2.0
"""One controller: the loop with its reconcilers, and the API that amphorae call.

Any number of them may run. It holds nothing that is not in the database, so it may be killed at
any moment. This is where the real drivers are chosen; nothing else knows which they are.
"""

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from colonnade.controller.amphora_api import application
from colonnade.controller.amphora_metrics import route
from colonnade.controller.amphorae import Amphorae, Births
from colonnade.controller.clusters import Clusters
from colonnade.controller.expiry import Expiry
from colonnade.controller.leaks import Leaks
from colonnade.controller.log_places import Places
from colonnade.controller.loop import Loop, Reconciler
from colonnade.controller.metrics import Told
from colonnade.controller.renewals import Certificates
from colonnade.controller.retirement import Retirement
from colonnade.controller.spares import Spares
from colonnade.controller.sweeping import Sweeping
from colonnade.controller.upgrades import Upgrades
from colonnade.domain.ids import AmphoraId, derived_id, new_id
from colonnade.domain.limits import LOAD_BALANCERS_PER_AMPHORA_MAX
from colonnade.drivers.amphora.haproxy.client import AgentClient
from colonnade.drivers.amphora.haproxy.driver import HaproxyDriver, HeartbeatKey
from colonnade.drivers.chosen import chosen_drivers, is_in_cloud
from colonnade.drivers.network.protocol import NetworkDriver
from colonnade.drivers.secrets.database import DatabaseSecrets, Kept, Seal
from colonnade.protocol.messages import PORT_CONTROLLER
from colonnade.runtime import metrics, sd_notify
from colonnade.runtime.certificate_authority import present_authority
from colonnade.runtime.config import Config
from colonnade.runtime.haproxy_binary import find_haproxy
from colonnade.runtime.listener import Bounds, accepting, protocols_of
from colonnade.runtime.logging import configure
from colonnade.runtime.mtls import contexts_for_late_clients
from colonnade.runtime.sockets import tcp_listener
from colonnade.runtime.system_programs import find_bird, find_keepalived
from colonnade.runtime.termination import until_told
from colonnade.store.fleet import amphora_rows, daemons, incarnation
from colonnade.store.fleet.failovers import Rules
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.lending import reached
from colonnade.store.queue import work
from colonnade.store.secrets import secrets

FLAVOR: Final = "default"
SHUTDOWN_S: Final = 1.0

log = structlog.get_logger()
# Of one: an amphora that carries seats asks for all of them.
FROM_AMPHORAE: Final = Bounds(connections=4096, of_one_peer=2 * LOAD_BALANCERS_PER_AMPHORA_MAX)


async def run(config: Config) -> None:
    """Until SIGTERM or SIGINT."""
    configure("controller", level=config.log_level)
    await until_told(_work(config))


def _births(config: Config, certificates: Certificates, seal: Seal) -> Births:
    if is_in_cloud(config):  # they are on the PATH of its image
        return Births(config, certificates, seal, "haproxy")
    return Births(
        config,
        certificates,
        seal,
        find_haproxy(config.haproxy),
        keepalived=str(find_keepalived(config.keepalived) or "keepalived"),
        bird=str(find_bird(config.bird) or "bird"),
    )


async def _work(config: Config) -> None:
    identity, ca = config.pki_dir / "controller.pem", config.pki_dir / "ca.pem"
    seal = Seal.from_file(config.pki_dir / "master.key")
    authority = present_authority(config.pki_dir / "ca-key.pem", ca)
    certificates = Certificates(authority, seal, config.amphora_certificate_days)
    births = _births(config, certificates, seal)
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.when_there(stack.enter_context(reached(config)))
        stack.push_async_callback(database.close)
        network, compute = await stack.enter_async_context(chosen_drivers(config, "controller"))
        agents = AgentClient(identity, ca)
        stack.push_async_callback(agents.close)
        driver = HaproxyDriver(config, agents, _key_of(database, seal), secrets_of(database, seal))
        address = f"{config.lb_network.address}:{PORT_CONTROLLER}"
        rules = Rules(heartbeats=config.heartbeats, failovers=config.failovers)
        clusters = Clusters(database, network, compute, driver, rules)
        reconcilers: dict[str, Reconciler] = {
            "cluster": clusters,
            "amphora": Amphorae(database, network, compute, births, driver),
            "spares": Spares(database, seal, config.spares),
            "leaks": Leaks(database, network, compute, rules=rules),
        }
        loop = Loop(database, reconcilers | _of_rows(database, config), holder=address)
        # While we run, another copy may be promoted.
        loop.on_connected = partial(incarnation.notice, database)
        runner = web.AppRunner(
            application(database, clusters, driver.bundle, Places(database, seal), certificates),
            access_log=None,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await stack.enter_async_context(
            accepting(
                tcp_listener(config.lb_network.address, PORT_CONTROLLER),
                protocols_of(runner),
                contexts_for_late_clients(identity, ca),
                FROM_AMPHORAE,
            )
        )
        told = Told(database, config)
        listener = metrics.listener_of(config.metrics, "controller")
        sources = [metrics.own, told.stands, database.families]
        await stack.enter_async_context(
            metrics.told(config, "controller", listener, sources, [route(database, agents)])
        )
        # Nobody else listens there, so whoever did before has ended.
        await _begin_work(database, address)
        await stack.enter_async_context(_listed(database, config, address, network))
        log.info("ready", address=config.lb_network.address)
        async with sd_notify.telling():
            await loop.run()


def _of_rows(database: Database, config: Config) -> dict[str, Reconciler]:
    """Those that need no driver."""
    return {
        "retirement": Retirement(database, config.retirement, config.amphora_certificate_days),
        "upgrade": Upgrades(database, config.spares),
        "expiry": Expiry(database),
        "sweeping": Sweeping(database, config.kept),
    }


@contextlib.asynccontextmanager
async def _listed(
    database: Database, config: Config, address: str, network: NetworkDriver
) -> AsyncIterator[None]:
    """This controller and the network daemon that it calls are listed while the context lasts."""
    here = daemons.Daemon(new_id(), daemons.Kind.CONTROLLER, address)
    # The network daemon knows no database, so its caller registers it.
    place = f"{config.network_url or config.network_driver} of {config.lb_network.address}"
    called = daemons.Daemon(derived_id(place, "network"), daemons.Kind.NETWORK, place)
    async with (
        daemons.registered(database, here),
        daemons.registered(database, called, network.lb_subnet),
    ):
        yield


async def _begin_work(database: Database, holder: str) -> None:
    """Free the leases of the controller before, if that was killed, and mark the keys that always
    exist."""
    await incarnation.notice(database)
    async with database.transaction() as connection:
        await work.void(connection, holder)
        await work.mark(connection, "leaks:all")
        await work.mark(connection, "expiry:all")
        await work.mark(connection, "sweeping:all")
        await work.mark(connection, "retirement:all")
        await work.mark(connection, f"spares:{FLAVOR}")


def _key_of(database: Database, seal: Seal) -> HeartbeatKey:
    async def key_of(amphora_id: AmphoraId) -> bytes | None:
        async with database.read() as connection:
            sealed = await amphora_rows.sealed_key(connection, amphora_id)
        return None if sealed is None else seal.unseal(sealed, amphora_id)

    return key_of


def secrets_of(database: Database, seal: Seal) -> DatabaseSecrets:
    async def find(ids: Collection[str]) -> Mapping[str, Kept]:
        async with database.read() as connection:
            return await secrets.contents(connection, ids)

    return DatabaseSecrets(find, seal)

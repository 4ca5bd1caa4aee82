# SPDX-License-Identifier: Apache-2.0
"""`colonnade up`: the whole system on one machine, in the foreground.

One supervisor starts the database, the lab (a namespace that holds all networks and amphorae) and
the processes, says when a request can be served, keeps everything running, and takes all of it
away when it is told to stop. What must last is in the state folder alone; whatever an earlier,
killed run left is cleared away first.
"""

import asyncio
import contextlib
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import structlog

from colonnade.api.server.binding import address_of, check_address
from colonnade.cli.local import far_database, folders, own_networks
from colonnade.cli.local.children import (
    PAUSE_MAX_S,
    PAUSE_MIN_S,
    Children,
    Command,
    colonnade,
    tied,
)
from colonnade.cli.local.identities import ensure_identities
from colonnade.cli.local.log_rotation import rotate_for_ever
from colonnade.cli.local.log_tail import said_last
from colonnade.cli.local.metrics_places import MetricsPlaces
from colonnade.cli.local.offices import hand_out, of_network, of_office
from colonnade.cli.local.starting import (
    Part,
    api_answers,
    make_state,
    only_one,
    place,
    run,
    started,
    stop_signal,
)
from colonnade.cli.waiting import until
from colonnade.domain.errors import ColonnadeError, Invalid, Unavailable
from colonnade.drivers.network.namespaces.lab import SOCKET, Lab, is_recorded
from colonnade.runtime import host_ids
from colonnade.runtime.config import Config, read_config, write_config
from colonnade.runtime.haproxy_binary import find_haproxy
from colonnade.store.postgres.embedded import EmbeddedPostgres

READY_S_MAX = 60.0
RENEWING_S = 6 * 3600.0  # between two looks at the certificates of our processes

log = structlog.get_logger()


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for. `api` is "HOST:PORT" or empty for the default."""

    state: Path | None = None
    api: str = ""
    spares: int | None = None
    database_url: str = ""
    database_password_file: Path | None = None
    host_route: bool = False
    keep: bool = False  # the lab, with amphorae and hosts, outlives this process


def run_up(wish: Wish) -> int:
    return run("up", _up(wish))


async def _up(wish: Wish) -> None:
    if wish.host_route and os.geteuid() != 0:
        raise Invalid("--host-route changes this host's routes, so it needs root")
    if wish.host_route and wish.keep:
        raise Invalid("--host-route ends with this process, and --keep lets others go on: give one")
    far_database.check_database(wish.database_url, wish.database_password_file)
    state = folders.state_dir(wish.state)
    make_state(state)
    with only_one(state):
        async with contextlib.AsyncExitStack() as stack:
            run_dir = folders.run_dir(state)
            stack.callback(_leave_run_dir, state)
            postgres = None if wish.database_url else EmbeddedPostgres(state, run_dir)
            config = _config(wish, state, run_dir, postgres)
            check_address(config.api)
            await asyncio.to_thread(own_networks.check, config)
            find_haproxy(config.haproxy)
            ensure_identities(state / "pki")
            if config.network:
                stack.push_async_callback(asyncio.to_thread, _leave_own_networks, state)
            await _run(config, postgres, wish, stack)


def _leave_run_dir(state: Path) -> None:
    """A lab that goes on keeps its mounts and its record there."""
    if not is_recorded(folders.run_dir_path(state)):
        folders.remove_run_dir(state)


def _leave_own_networks(state: Path) -> None:
    """A lab that goes on is reached by them."""
    run_dir = folders.run_dir_path(state)
    if not is_recorded(run_dir):
        own_networks.clear(run_dir)


async def _run(
    config: Config,
    postgres: EmbeddedPostgres | None,
    wish: Wish,
    stack: contextlib.AsyncExitStack,
) -> None:
    """Start, say so, and return when told to stop, be it before everything has started."""
    stop = stop_signal()
    preparing = asyncio.create_task(_prepare(config, postgres, wish, stack))
    told = asyncio.create_task(stop.wait())
    await asyncio.wait({preparing, told}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        preparing.cancel()
        await asyncio.wait({preparing})
        return
    await preparing
    print(f"ready: http://{address_of(config.api)}", flush=True)
    if sys.stdout.isatty():
        print(f"logs are in {config.state_dir / 'logs'}; Ctrl-C stops everything", flush=True)
    await told
    print("stopping", flush=True)


async def _prepare(
    config: Config,
    postgres: EmbeddedPostgres | None,
    wish: Wish,
    stack: contextlib.AsyncExitStack,
) -> None:
    """Start everything, and return when it answers; what was started is on the stack."""
    write_config(folders.config_file(config.state_dir), config)
    hand_out(config, folders.config_file(config.state_dir))
    lab = Lab(config, outlives=wish.keep)
    places = MetricsPlaces(config.metrics, config.state_dir)
    relay = far_database.RelayPlace(config, wanted=postgres is None)
    parts: list[Part] = [lab, places, relay, *([postgres] if postgres is not None else [])]
    await asyncio.gather(*(stack.enter_async_context(started(part)) for part in parts))
    if postgres is not None:
        keeper = asyncio.create_task(_keep(postgres))
        stack.callback(keeper.cancel)
    logs = config.state_dir / "logs"
    children = Children(logs)
    rotating = asyncio.create_task(rotate_for_ever(logs, [postgres.log_file] if postgres else []))
    stack.callback(rotating.cancel)
    renewing = asyncio.create_task(_renew_identities(config))
    stack.callback(renewing.cancel)
    stack.push_async_callback(children.stop)
    await children.starting(_start_processes(children, lab, (places, relay), config))
    lab.leave()
    if wish.host_route:
        from colonnade.drivers.network.namespaces.host_route import host_route  # netlink is large

        await stack.enter_async_context(host_route(lab))


async def _renew_identities(config: Config) -> None:
    """Issue certificates of our processes anew at half of their lives; they read them again."""
    while True:
        await asyncio.sleep(RENEWING_S)
        try:
            ensure_identities(config.pki_dir)
            hand_out(config, folders.config_file(config.state_dir))
        except (OSError, ValueError, ColonnadeError) as error:
            log.error("the processes' certificates are not renewed", error=str(error))


async def _keep(postgres: EmbeddedPostgres) -> None:
    """Start the database again whenever it ends; the others wait for it by themselves."""
    while True:
        code = await postgres.wait()
        log.warning("process ended", name="postgres", code=code)
        await asyncio.sleep(PAUSE_MIN_S)
        try:
            await postgres.start()
        except ColonnadeError as error:
            log.error("the database does not start", error=str(error))
            await asyncio.sleep(PAUSE_MAX_S)


async def _start_processes(
    children: Children,
    lab: Lab,
    sockets: tuple[MetricsPlaces, far_database.RelayPlace],
    config: Config,
) -> None:
    places, relay = sockets
    file = str(folders.config_file(config.state_dir))
    network = lab.enter(of_network(colonnade("network", "--config", file)))
    given = {**places.of("network"), **own_networks.handed_over(config)}
    children.start(Command(name="network", argv=tied(network), sockets=given))
    api = tied(_office("api", "api", config))
    children.start(Command(name="api", argv=api, sockets=places.of("api")))
    await _migrate(config)
    # Outside of the lab: whom it calls is anywhere.
    notifier = tied(_office("notifier", "notifier", config))
    children.start(Command(name="notifier", argv=notifier, sockets=places.of("notifier")))
    await _until_network_answers(config)
    if relay.of_relay():
        argv = tied(far_database.of_relay(config))
        children.start(Command(name="relay", argv=argv, sockets=relay.of_relay()))
    is_root = host_ids.of(config.state_dir) is not None
    for name in ("controller", "health"):
        # In the lab of an ordinary user everything is root; of root's, `_office` sees to it.
        inside = lab.enter(_office(name, name, config), netns="control", with_rights=is_root)
        within = Command(name=name, argv=tied(inside), sockets=places.of(name))
        children.start(msgspec.structs.replace(within, told=relay.of_others()))
    await _answers(config)


async def _until_network_answers(config: Config) -> None:
    """It listens when all networks are there. Asking it more would take a TLS client here."""

    async def listens() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_unix_connection(config.run_dir / SOCKET)
            writer.close()
            return True
        return False

    await until(listens, within_s=READY_S_MAX, what="the network daemon to answer")


def _office(name: str, command: str, config: Config) -> list[str]:
    file = folders.config_file(config.state_dir)
    return of_office(name, colonnade(command, "--config", str(file)), config, file)


async def _migrate(config: Config) -> None:
    process = await asyncio.create_subprocess_exec(
        *tied(_office("controller", "migrate", config)), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    if process.returncode:
        said = said_last(errors.decode(errors="replace"))
        raise Unavailable(f"the database's schema could not be created: {said}")


async def _answers(config: Config) -> None:
    """Return when the API answers, which takes the database too."""

    async def answers() -> bool:
        return await api_answers(config.api)

    await until(answers, within_s=READY_S_MAX, what="the API to answer")


def _config(wish: Wish, state: Path, run_dir: Path, postgres: EmbeddedPostgres | None) -> Config:
    """What the file in the state folder says, as far as it says it, and the command line above it.

    Raises Invalid with the place and the reason when the file cannot be read."""
    above: dict[str, Any] = {
        "state_dir": str(state),
        "run_dir": str(run_dir),
        "database_url": postgres.url if postgres else wish.database_url,
        "network_url": f"unix:{run_dir / SOCKET}",
    }
    if wish.database_password_file is not None or postgres is not None:
        kept = far_database.keep_password(wish.database_password_file, state / "pki")
        above["database_password_file"] = str(kept) if kept else None
    if wish.spares is not None:
        above["spares"] = wish.spares
    if wish.api:
        above["api"] = place(wish.api)
    file = folders.config_file(state)
    file.touch(mode=0o600)
    try:
        return read_config(file, above)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"{file}: {error}") from error

# SPDX-License-Identifier: Apache-2.0
"""What units start that is more than a word of the command line: each becomes the process that its
unit is about, and leaves none of its own behind.

The lab is left to systemd, which watches its first process; it holds the lock of the state folder,
so that no `up` and no `down` touches it.
"""

import asyncio
import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from colonnade.cli.installation.units import CONTROL_LINK, PID_FILE
from colonnade.cli.local import folders, own_networks
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.identities import ensure_identities
from colonnade.cli.local.metrics_places import FILES_ABOVE
from colonnade.cli.local.offices import hand_out, of_network
from colonnade.cli.local.starting import SYSTEMD, only_one
from colonnade.drivers.network.namespaces import groups
from colonnade.drivers.network.namespaces.host_route import make_host_route
from colonnade.drivers.network.namespaces.lab import Lab, end_leftovers
from colonnade.runtime import logging
from colonnade.runtime.config import METRICS_SOCKET, Config, read_config
from colonnade.store.postgres.embedded import EmbeddedPostgres

unit = typer.Typer(name="unit", help="What unit files start.", no_args_is_help=True)

ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration file (TOML).")]


@unit.command()
def lab(
    config: ConfigFile,
    host_route: Annotated[
        bool, typer.Option("--host-route", help="Route this host to the public network.")
    ] = False,
) -> None:
    """Make the namespaces in which amphorae serve, and leave them."""
    logging.configure("lab")
    asyncio.run(_make_lab(read_config(config), host_route))


@unit.command()
def network(config: ConfigFile) -> None:
    """Enter the lab, and become the network daemon."""
    said = read_config(config)
    found = Lab.running(said)
    own_networks.check(said)
    for name, file in own_networks.handed_over(said).items():
        os.set_inheritable(file, True)
        os.environ[name] = str(file)
    argv = found.enter(of_network(colonnade("network", "--config", str(config))))
    given = os.environ.get(METRICS_SOCKET)
    if given:  # shells between here and there use low numbers for themselves
        moved = fcntl.fcntl(int(given), fcntl.F_DUPFD, FILES_ABOVE)
        os.environ[METRICS_SOCKET] = str(moved)
    _become(argv)


@unit.command()
def database(config: ConfigFile) -> None:
    """Become the embedded PostgreSQL."""
    found = read_config(config)
    _become(
        EmbeddedPostgres(found.state_dir, found.run_dir).command(), {"LC_ALL": "C", "TZ": "UTC"}
    )


@unit.command()
def renew(config: ConfigFile) -> None:
    """Issue certificates that are past half of their lives anew."""
    found = read_config(config)
    ensure_identities(found.pki_dir)
    hand_out(found, config)


async def _make_lab(config: Config, wants_host_route: bool) -> None:
    run_dir = folders.run_dir(config.state_dir)
    with only_one(config.state_dir, SYSTEMD) as lock:
        config.state_dir.chmod(0o711)  # `up`, which may have had it before, closes it
        await end_leftovers(run_dir)
        groups.enter_lab_group()
        made = Lab(config, outlives=True, held=(lock.fileno(),))
        await made.start()
        if wants_host_route:
            await make_host_route(made)
        link = run_dir / CONTROL_LINK
        link.unlink(missing_ok=True)
        link.symlink_to(made.folder / "netns" / "control")
        (run_dir / PID_FILE).write_text(f"{made.starter.pid}\n")


def _become(argv: Sequence[str], more: Mapping[str, str] | None = None) -> NoReturn:
    os.execvpe(argv[0], list(argv), os.environ | (more or {}))  # noqa: S606 -- that is its job

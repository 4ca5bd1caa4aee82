# SPDX-License-Identifier: Apache-2.0
"""The `colonnade` command: one word for each thing a person or a unit file starts.

Each command imports what it needs when it runs, so that `colonnade --help` and the small daemons
stay small. No logic lives here.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import colonnade
from colonnade.cli.demo.kinds import Kind
from colonnade.cli.objects.lazy_groups import CommandGroup

app = typer.Typer(
    cls=CommandGroup,
    name="colonnade",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"colonnade {colonnade.__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    """Load balancing as a service: the Octavia v2 API over real HAProxy."""


State = Annotated[
    Path | None, typer.Option("--state", help="The state folder: all that must be kept.")
]
Root = Annotated[
    Path | None, typer.Option("--root", help="Below this folder, without touching the machine.")
]
ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration file (TOML).")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        help="A file with the password of that PostgreSQL, which no command line shows.",
        exists=True,
        dir_okay=False,
    ),
]


@app.command()
def up(
    *,
    state: State = None,
    api: Annotated[str, typer.Option("--api", help="HOST:PORT of the user API.")] = "",
    spares: Annotated[
        int | None, typer.Option(help="Amphorae kept ready (2 at first).", min=0, max=50)
    ] = None,
    database: Annotated[
        str,
        typer.Option(help="Use this PostgreSQL, not the embedded one (libpq connection string)."),
    ] = "",
    database_password_file: PasswordFile = None,
    host_route: Annotated[
        bool, typer.Option("--host-route", help="Route this host to the public network (root).")
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Amphorae and hosts go on serving when this ends."),
    ] = False,
) -> None:
    """Start the whole system on this machine, in the foreground."""
    from colonnade.cli.local.up import Wish, run_up

    wish = Wish(
        state=state,
        api=api,
        spares=spares,
        database_url=database,
        database_password_file=database_password_file,
        host_route=host_route,
        keep=keep,
    )
    raise typer.Exit(run_up(wish))


@app.command()
def down(state: State = None) -> None:
    """Stop a running system, or remove what a killed one left."""
    from colonnade.cli.local.down import run_down

    raise typer.Exit(run_down(state))


@app.command()
def init(
    *,
    api: Annotated[str, typer.Option("--api", help="HOST:PORT of the user API.")] = "",
    metrics_port: Annotated[
        int, typer.Option(help="The first of a few ports of loopback.", min=1, max=65_000)
    ] = 9877,
    spares: Annotated[
        int | None, typer.Option(help="Amphorae kept ready (2 at first).", min=0, max=50)
    ] = None,
    database: Annotated[
        str,
        typer.Option(help="Use this PostgreSQL, not the embedded one (libpq connection string)."),
    ] = "",
    database_password_file: PasswordFile = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="A network of this machine, as in name=web,mode=host,interface=eth0; repeat.",
            metavar="KEY=VALUE,...",
        ),
    ] = None,
    host_route: Annotated[
        bool, typer.Option("--host-route", help="Route this host to the public network.")
    ] = False,
    state: State = None,
    root: Root = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be written, and write nothing.")
    ] = False,
) -> None:
    """Make this machine's system one that systemd runs (root). May be repeated."""
    from colonnade.cli.installation.init import Wish, run_init

    wish = Wish(
        root=root,
        state=state,
        api=api,
        metrics_port=metrics_port,
        spares=spares,
        database_url=database,
        database_password_file=database_password_file,
        networks=tuple(network or ()),
        host_route=host_route,
        dry_run=dry_run,
    )
    raise typer.Exit(run_init(wish))


@app.command()
def uninstall(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    keep_state: Annotated[
        bool, typer.Option("--keep-state", help="Take away the units alone.")
    ] = False,
    root: Root = None,
) -> None:
    """Take away what `init` made, and all load balancers with it (root)."""
    from colonnade.cli.installation.uninstall import Wish, run_uninstall

    raise typer.Exit(run_uninstall(Wish(root=root, keep_state=keep_state, yes=yes)))


@app.command()
def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, nothing else.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the state folder afterwards.")] = False,
    topology: Annotated[
        Kind, typer.Option("--topology", help="The amphorae that serve it.")
    ] = Kind.SINGLE,
) -> None:
    """Create a load balancer, cause failures, and show what happened. Removes all of it."""
    from colonnade.cli.demo.demo import run_demo

    raise typer.Exit(run_demo(topology, as_json=as_json, keep=keep))


@app.command()
def doctor(state: State = None) -> None:
    """Check this machine: what is missing for `up`, and how to get it."""
    from colonnade.cli.local.doctor import run_doctor

    raise typer.Exit(run_doctor(state))


PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Its first line; else it is asked for.")
]


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write. It must not exist.")],
    recipient: Annotated[
        list[str] | None,
        typer.Option(metavar="AGE1...", help="Encrypt for this public key of age; repeat."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The configuration file (TOML).")
    ] = None,
    state: State = None,
) -> None:
    """Back up a running system: database, keys and addresses, in one encrypted file."""
    from colonnade.cli.backup.keys import Keys, asked_for
    from colonnade.cli.backup.saving import run_backup

    names = recipient or ()
    keys = Keys(names=names) if names else Keys(passphrase=asked_for(passphrase_file, twice=True))
    raise typer.Exit(run_backup(file, keys, config, state))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `colonnade backup` has written.")],
    *,
    identity: Annotated[
        Path | None, typer.Option(help="A file with a secret key of age, from age-keygen.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    database: Annotated[
        str, typer.Option(help="Into this PostgreSQL, not the embedded one (libpq string).")
    ] = "",
    database_password_file: PasswordFile = None,
    state: State = None,
) -> None:
    """Make a state folder from a backup, here or on another machine. Starts nothing."""
    from colonnade.cli.backup.keys import Keys, asked_for, identities_of
    from colonnade.cli.backup.restoring import Elsewhere, run_restore

    if identity is not None:
        keys = Keys(names=identities_of(identity))
    else:
        keys = Keys(passphrase=asked_for(passphrase_file, twice=False))
    raise typer.Exit(run_restore(file, keys, state, Elsewhere(database, database_password_file)))


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
    within_s: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="End it after this (code 124).")
    ] = 0,
    state: State = None,
) -> None:
    """Run a command on the public network of the lab, where VIPs answer."""
    from colonnade.cli.lab.lab import run_inside

    raise typer.Exit(run_inside(command, state, within_s=within_s))


@app.command()
def migrate(
    config: ConfigFile,
    wait: Annotated[bool, typer.Option("--wait", help="Until the database answers.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what would be applied; exit code 1 if any.")
    ] = False,
) -> None:
    """Upgrade the database's schema."""
    from colonnade.runtime import logging
    from colonnade.runtime.config import read_config
    from colonnade.store.postgres import migrations
    from colonnade.store.postgres.lending import reached

    settings = read_config(config)
    logging.configure("migrate", level=settings.log_level)
    with reached(settings) as url:
        if check:
            found = sorted(migrations.missing(url()))
            print(f"would be applied: {', '.join(found)}" if found else "the schema is up to date")
            raise typer.Exit(1 if found else 0)
        act = migrations.migrate_when_there if wait else migrations.migrate
        act(url())


@app.command()
def api(
    config: Annotated[Path | None, typer.Option(help="The configuration file (TOML).")] = None,
    noop: Annotated[
        bool, typer.Option("--noop", help="Only the API, without traffic: for conformance suites.")
    ] = False,
    listen: Annotated[str, typer.Option(help="With --noop: HOST:PORT to listen on.")] = "",
    database: Annotated[
        str, typer.Option(help="With --noop: use this PostgreSQL (libpq connection string).")
    ] = "",
    state: State = None,
) -> None:
    """The user and operator API (started by `up`, or by a unit file)."""
    if noop:
        from colonnade.cli.local.noop_api import Wish, run_noop

        wish = Wish(config=config, state=state, database_url=database, listen=listen)
        raise typer.Exit(run_noop(wish))
    from colonnade.api.process import serve
    from colonnade.runtime.config import read_config

    if config is None:
        raise typer.BadParameter("--config FILE is needed, or --noop")
    serve(read_config(config))


@app.command()
def controller(config: ConfigFile) -> None:
    """The controller: reconciles load balancers and amphorae."""
    from colonnade.controller.process import run
    from colonnade.runtime.config import read_config

    asyncio.run(run(read_config(config)))


@app.command()
def health(config: ConfigFile) -> None:
    """The health process: receives heartbeats, and marks silent amphorae as failed."""
    from colonnade.health.process import run
    from colonnade.runtime.config import read_config

    run(read_config(config))


@app.command()
def notifier(config: ConfigFile) -> None:
    """The notifier: sends events to webhooks, and orders certificates."""
    from colonnade.notifier.process import run
    from colonnade.runtime.config import read_config

    asyncio.run(run(read_config(config)))


@app.command()
def relay(
    servers: Annotated[list[str], typer.Argument(help="HOST:PORT of each server.")],
) -> None:
    """The relay: leads processes on the amphorae's network to a database elsewhere."""
    from colonnade.store.postgres.relay import run

    asyncio.run(run(servers))


@app.command()
def network(config: ConfigFile) -> None:
    """The network daemon: the only process that needs network privileges."""
    from colonnade.drivers.network_daemon.daemon import run
    from colonnade.runtime import logging
    from colonnade.runtime.config import read_config

    settings = read_config(config)
    logging.configure("network", level=settings.log_level)
    asyncio.run(run(settings))


def main(words: Sequence[str] | None = None) -> None:
    """`words` are those of the command line when none are given."""
    from colonnade.domain.errors import ColonnadeError

    try:
        app(args=words)
    except ColonnadeError as error:
        print(f"colonnade: {error}", file=sys.stderr)
        raise SystemExit(1) from None

# SPDX-License-Identifier: Apache-2.0
"""`colonnade init`: what systemd needs to run the whole system on this machine.

Everything is found out or has a default. What is there stays as it is, and is said to be there;
only units are written anew when they are not what this release makes. Nothing is started. Whatever
an interrupted run has not done, the next one does.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from colonnade.cli.installation.accounts import accounts_text, make_accounts
from colonnade.cli.installation.admin_token import ensure_admin_token
from colonnade.cli.installation.layout import Layout, known_config, layout_of
from colonnade.cli.installation.systemd import is_running, systemctl
from colonnade.cli.installation.units import LAB, TARGET, Options, metrics_ports, unit_files
from colonnade.cli.local import folders, own_networks
from colonnade.cli.local.far_database import PASSWORD, check_database, keep_password
from colonnade.cli.local.identities import ensure_identities
from colonnade.cli.local.metrics_places import FILE, places_text
from colonnade.cli.local.offices import hand_out
from colonnade.cli.local.starting import exit_code, place
from colonnade.domain.addresses import endpoint
from colonnade.domain.errors import Broken, Invalid
from colonnade.drivers.chosen import is_in_cloud
from colonnade.drivers.compute.namespaces import image
from colonnade.drivers.network.namespaces import groups
from colonnade.drivers.network.namespaces.lab import SOCKET
from colonnade.runtime import host_ids, program
from colonnade.runtime.as_id import closed_folder
from colonnade.runtime.config import Config, config_text, write_config
from colonnade.runtime.haproxy_binary import find_haproxy
from colonnade.runtime.host_ids import HostIds
from colonnade.store.postgres.embedded import EmbeddedPostgres, binaries

METRICS_PORT: Final = 9877
HOMES_TOO: Final = tuple(Path(name) for name in ("/home", "/root"))  # units put our program back


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for; empty: the default."""

    root: Path | None = None
    state: Path | None = None
    api: str = ""
    metrics_port: int = METRICS_PORT
    spares: int | None = None
    database_url: str = ""
    database_password_file: Path | None = None
    networks: tuple[str, ...] = ()  # as `own_networks.read` reads them
    host_route: bool = False
    dry_run: bool = False


class Piece(msgspec.Struct, frozen=True):
    """A file that is made. `is_ours`: written anew where it is not this."""

    path: Path
    text: str
    is_ours: bool = True

    @property
    def standing(self) -> str:
        if not self.path.exists():
            return "written"
        if not self.is_ours or self.path.read_text() == self.text:
            return "is there"
        return "written anew"


def run_init(wish: Wish) -> int:
    return exit_code("init", lambda: _init(wish))


def _init(wish: Wish) -> None:
    layout = layout_of(wish.root, wish.state)
    ids = host_ids.of(layout.state)
    if ids is None:
        raise Invalid("this writes units and makes accounts, so it needs root")
    config = _config(layout, wish)
    has_lab = not is_in_cloud(config)
    if has_lab:
        find_haproxy(config.haproxy)
        own_networks.check(config)
    options = _options(layout, config, wish)
    url = "" if options.has_database else config.database_url
    check_database(url, wish.database_password_file)
    _check(layout, options, has_lab=has_lab)
    pieces = list(_pieces(layout, config, options, ids))
    if wish.dry_run:
        _print(layout, config, pieces)
        return
    _make(layout, config, pieces, ids, wish.database_password_file)
    secret = asyncio.run(ensure_admin_token(config, has_database=options.has_database))
    layout.state.chmod(0o711)  # the way to what is somebody's own below
    print(f"admin token: {'made' if secret else 'is there'}")
    if layout.is_machine and is_running():
        systemctl("daemon-reload")
    _say_next(secret)


def _config(layout: Layout, wish: Wish) -> Config:
    """The file that is there, as it is; else a fresh one, made of what `up` has used before."""
    if layout.config.exists():
        return known_config(layout.config)
    run_dir = layout.run_dir
    embedded = EmbeddedPostgres(layout.state, run_dir)
    above: dict[str, Any] = {
        "state_dir": str(layout.state),
        "run_dir": str(run_dir),
        "database_url": wish.database_url or embedded.url,
        "network_url": f"unix:{run_dir / SOCKET}",
        "api": {"auth": "token"} | (place(wish.api) if wish.api else {}),
        "metrics": {"port": wish.metrics_port},
    }
    if wish.database_password_file is not None:
        above["database_password_file"] = str(layout.state / "pki" / PASSWORD)
    elif not wish.database_url:
        above["database_password_file"] = None
    if wish.spares is not None:
        above["spares"] = wish.spares
    if wish.networks:
        above["network"] = [own_networks.read(text) for text in wish.networks]
    former = folders.config_file(layout.state)
    return known_config(former if former.exists() else Path(os.devnull), above)


def _options(layout: Layout, config: Config, wish: Wish) -> Options:
    unit = layout.units / LAB
    routed = unit.exists() and "--host-route" in unit.read_text()
    embedded = EmbeddedPostgres(config.state_dir, config.run_dir)
    return Options(
        has_database=config.database_url == embedded.url, host_route=wish.host_route or routed
    )


def _check(layout: Layout, options: Options, *, has_lab: bool) -> None:
    """Raises Broken for what would keep the units from starting."""
    if options.has_database:
        binaries()
    if has_lab:
        image.check_readable_by_all()
    for path in program.places():
        lid = closed_folder(path)
        if lid is not None and not any(h == lid or h in lid.parents for h in HOMES_TOO):
            raise Broken(
                f"{path} lies in {lid}, which others may not enter, and the processes are not "
                f"root: install Colonnade elsewhere, as in /opt/colonnade, or `chmod o+x {lid}`"
            )
    if has_lab and layout.is_machine and not (groups.ROOT / "cgroup.controllers").exists():
        raise Broken(
            f"{groups.ROOT} has no control groups of version 2, which amphorae that outlive their "
            "daemon need: boot with systemd.unified_cgroup_hierarchy=1"
        )


def _pieces(layout: Layout, config: Config, options: Options, ids: HostIds) -> Iterator[Piece]:
    yield Piece(layout.config, config_text(config), is_ours=False)
    yield Piece(layout.accounts, accounts_text(ids))
    ports = metrics_ports(config)
    told = {name: endpoint(config.metrics.host, port) for name, port in ports.items()}
    yield Piece(config.state_dir / FILE, places_text(told))
    for name, text in sorted(unit_files(layout, config, options).items()):
        yield Piece(layout.units / name, text)


def _print(layout: Layout, config: Config, pieces: list[Piece]) -> None:
    for piece in pieces:
        said = piece.standing
        print(f"# {piece.path}: {said if said == 'is there' else f'would be {said}'}")
        print(piece.text)
    kept = folders.config_file(config.state_dir)
    print(f"# {config.pki_dir}: keys and certificates of the processes would be made, each for its")
    print("# own process. The schema of the database and a token of role admin would be made.")
    print(f"# {kept} would lead to {layout.config}.")


def _make(
    layout: Layout, config: Config, pieces: list[Piece], ids: HostIds, password: Path | None
) -> None:
    """`password`: the file that has that of the database."""
    for folder in (layout.etc, layout.units, layout.accounts.parent):
        folder.mkdir(parents=True, exist_ok=True)
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    for piece in pieces:
        said = piece.standing
        if piece.path == layout.config:
            if said == "written":
                write_config(layout.config, config)
        elif said != "is there":
            piece.path.write_text(piece.text)
        print(f"{piece.path}: {said}")
    link = folders.config_file(config.state_dir)
    if not link.is_symlink():  # commands find a system by the file in its state folder
        link.unlink(missing_ok=True)
        link.symlink_to(layout.config)
    if layout.is_machine:
        make_accounts(str(layout.accounts), ids)
    there = config.pki_dir.exists()
    ensure_identities(config.pki_dir)
    if not (config.pki_dir / PASSWORD).exists():
        keep_password(password, config.pki_dir)
    hand_out(config, layout.config)
    print(f"{config.pki_dir}: {'is there' if there else 'made'}")


def _say_next(secret: str) -> None:
    own = Path(sys.executable).with_name("colonnade")
    print("\nnext:")
    print(f"  systemctl enable --now {TARGET}")
    print(f"  export COLONNADE_TOKEN={secret or '...'}")
    print(f"  {own} doctor")

# SPDX-License-Identifier: Apache-2.0
"""`colonnade lab` and `colonnade exec`: a bench of hosts and networks inside a running system.

They find the system by its state folder and speak to the network daemon as the supervisor does.
Hosts are namespaces on the lab's networks; the machine's own network is never touched.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from colonnade.cli.local import finding
from colonnade.cli.local.starting import is_held
from colonnade.domain.errors import Invalid, NotFound
from colonnade.drivers.network.namespaces.lab import OUTSIDE, Lab
from colonnade.drivers.network.protocol import Announced, Neighbour, Subnet
from colonnade.runtime.config import Config, read_config

if TYPE_CHECKING:  # every command loads this module, and most need no HTTP client
    from colonnade.drivers.network.namespaces.client import LabClient, NetworkClient
    from colonnade.drivers.network.namespaces.wire import Host

lab = typer.Typer(help="Test hosts and test networks.", no_args_is_help=True)
host = typer.Typer(help="Hosts on the lab's networks.", no_args_is_help=True)
network = typer.Typer(help="Networks that hosts and amphorae are on.", no_args_is_help=True)
lab.add_typer(host, name="host")
lab.add_typer(network, name="network")

State = Annotated[Path | None, typer.Option("--state", help="The state folder of the system.")]
Within = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="SECONDS", help="End the command after this (exit code 124)."
    ),
]
Words = Annotated[list[str] | None, typer.Argument(help="A command and its arguments, after --.")]
THROUGH = {"ignore_unknown_options": True}  # options of the command that is run
STARTING_S_MAX = 20.0
OWN_AS: Final = 64512  # the first that is for private use (RFC 6996)
BFD_MS: Final = 100
T = TypeVar("T")


@host.command("add", context_settings=THROUGH)
def add_host(
    name: str,
    on: Annotated[str, typer.Option("--network", help="public, private, or an added one.")],
    command: Words = None,
    address: Annotated[str, typer.Option(help="A free address is chosen when none is given.")] = "",
    state: State = None,
) -> None:
    """Create a host that runs the command. Without one it only has its address."""
    from colonnade.drivers.network.namespaces.wire import HostWish

    wish = HostWish(
        name=name,
        network=on,
        address=address or None,
        command=tuple(command or ()),
        directory=str(Path.cwd()),
    )
    made = _ask(state, lambda client, _: client.add_host(wish))
    print(f"{made.name}: {', '.join(made.addresses)}")


@host.command("rm")
def remove_host(name: str, state: State = None) -> None:
    """Delete a host and everything that runs in it."""
    _ask(state, lambda client, _: client.remove_host(name))


@lab.command("exec", context_settings=THROUGH)
def execute(
    name: str,
    command: Annotated[list[str], typer.Argument(help="A command and its arguments, after --.")],
    within_s: Within = 0,
    state: State = None,
) -> None:
    """Run a command in a host."""
    raise typer.Exit(run_inside(command, state, name, within_s=within_s))


@network.command("add")
def add_network(
    name: str,
    cidrs: Annotated[list[str], typer.Argument(help="One range for each IP version.")],
    *,
    is_isolated: Annotated[
        bool,
        typer.Option(
            "--isolated", help="No router: its range may be that of another network, too."
        ),
    ] = False,
    via: Annotated[
        str,
        typer.Option(
            help="For VIPs of a routed front end: nobody is on it, and the router leads it to "
            "amphorae on this network."
        ),
    ] = "",
    routers: Annotated[
        list[str] | None,
        typer.Option(
            "--bgp-router",
            metavar="ADDRESS=AS",
            help="With --via: amphorae announce VIPs by BGP to this router on that network, and "
            "ours leads nothing. Repeat for more, and for the other IP version.",
        ),
    ] = None,
    own_as: Annotated[
        int, typer.Option("--bgp-as", help="Of amphorae: their autonomous system.")
    ] = OWN_AS,
    bfd_ms: Annotated[
        int, typer.Option("--bfd", metavar="MS", help="Between two packets of BFD; 0: none.")
    ] = BFD_MS,
    state: State = None,
) -> None:
    """Add a network; the router gets its first address, unless it is isolated."""
    how: dict[str, Any] = {"is_routed": not is_isolated, "more": tuple(cidrs[1:]), "via": via}
    if routers:
        how["announced"] = Announced(asn=own_as, routers=_neighbours(routers), bfd_ms=bfd_ms)
    made = _ask(state, lambda client, _: client.add_network(name, cidrs[0], **how))
    print(f"{made.name}: {made.id}")


@lab.command("list")
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    state: State = None,
) -> None:
    """Show networks and hosts."""

    async def both(
        client: "LabClient", networks: "NetworkClient"
    ) -> "tuple[list[Subnet], list[Host]]":
        return list(await networks.subnets()), list(await client.hosts())

    subnets, hosts = _ask(state, both)
    if as_json:
        shown = {"subnets": subnets, "hosts": hosts}
        print(msgspec.json.format(msgspec.json.encode(shown)).decode())
        return
    console = Console()
    names: dict[str | None, str] = {s.id: s.name for s in subnets}
    console.print(_table("Networks", ("subnet", "range", "gateway", "led to", "id"), [
        (s.name, s.cidr, s.gateway_ip or "", names.get(s.via_subnet_id, ""), s.id) for s in subnets
    ]))  # fmt: skip
    console.print(_table("Hosts", ("name", "network", "addresses", "runs"), [
        (h.name, h.network, ", ".join(h.addresses), _runs(h)) for h in hosts
    ]))  # fmt: skip


def run_inside(
    command: list[str], state: Path | None, name: str = OUTSIDE, *, within_s: float = 0
) -> int:
    """Become the command, in the host. Returns only when that is not possible (127).

    `within_s`: the command is ended after that (exit code 124); 0: it may run for ever."""
    bounded = ["timeout", "--foreground", f"{within_s:g}", *command] if within_s > 0 else command
    argv = _entered(_config(state), bounded, name)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 -- the user's own command, in their own lab
    except FileNotFoundError as error:
        raise NotFound(f"{argv[0]} is missing: install the package util-linux") from error


def _entered(config: Config, command: list[str], name: str) -> list[str]:
    """The command line that runs it in the host. A system that is starting is waited for, and so
    said; one that is not there is not."""
    deadline = time.monotonic() + STARTING_S_MAX
    is_told = False
    while True:
        try:
            return Lab.running(config).enter(command, netns=name, interactive=True)
        except NotFound:
            if not is_held(config.state_dir) or time.monotonic() > deadline:
                raise
        if not is_told:
            print("waiting for the system to start", file=sys.stderr)
            is_told = True
        time.sleep(0.2)


def _config(state: Path | None) -> Config:
    return read_config(finding.running(state))


def _ask(state: Path | None, question: Callable[["LabClient", "NetworkClient"], Awaitable[T]]) -> T:
    from colonnade.drivers.network.namespaces.client import LabClient, NetworkClient

    config = _config(state)
    credentials = config.pki_dir / "supervisor.pem", config.pki_dir / "ca.pem"

    async def ask() -> T:
        client = LabClient(config.network_url, *credentials)
        networks = NetworkClient(config.network_url, *credentials)
        try:
            return await question(client, networks)
        finally:
            await client.close()
            await networks.close()

    return asyncio.run(ask())


def _neighbours(texts: list[str]) -> tuple[Neighbour, ...]:
    pairs = [text.partition("=") for text in texts]
    for text, (_, _, asn) in zip(texts, pairs, strict=True):
        if not asn.isdecimal():
            raise Invalid(f"--bgp-router takes ADDRESS=AS, such as 203.0.113.2=64600, not '{text}'")
    return tuple(Neighbour(address, int(asn)) for address, _, asn in pairs)


def _table(title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")  # an id is copied whole or not at all
    for row in rows:
        table.add_row(*row)
    return table


def _runs(host: "Host") -> str:
    if not host.is_running:
        return "[red]ended[/red]"
    return " ".join(host.command) or "idle"

# SPDX-License-Identifier: Apache-2.0
"""`colonnade admin openstack`: what an operator does in the cloud that Colonnade serves, once.

It asks as OpenStack's own clients do: with the variables OS_*, or a cloud of clouds.yaml.
"""

import asyncio
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

if TYPE_CHECKING:
    from colonnade.cli.cloud.setup import Outcome

Url = Annotated[str, typer.Option("--url", help="Of the API, for users: https://HOST:PORT.")]
InternalUrl = Annotated[
    str, typer.Option("--internal-url", help="The same for clients within the cloud.")
]
Region = Annotated[str, typer.Option("--region", help="Where there are several.")]
Name = Annotated[str, typer.Option("--name", help="Of the service in the catalog.")]
AnyCloud = Annotated[str, typer.Option("--cloud", help="Of clouds.yaml; else what OS_* say.")]
LbNetworkName = Annotated[
    str, typer.Option("--lb-network", help="Where amphorae and control plane meet.")
]
Flavor = Annotated[str, typer.Option("--flavor", help="Of amphorae.")]
Tag = Annotated[str, typer.Option("--tag", help="Of the image.")]
ImageFile = Annotated[
    Path | None, typer.Option("--image", help="A file to publish; else one is there already.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")]

openstack = typer.Typer(
    name="openstack", help="Colonnade as a service of an OpenStack cloud.", no_args_is_help=True
)


@openstack.command()
def register(
    *,
    url: Url,
    internal_url: InternalUrl = "",
    region: Region = "",
    name: Name = "octavia",
    cloud: AnyCloud = "",
    as_json: AsJson = False,
) -> None:
    """Write the service and its endpoints into the cloud's catalog. May be repeated."""
    from colonnade.drivers.openstack.catalog import Entry, register
    from colonnade.drivers.openstack.credentials import of_operator
    from colonnade.drivers.openstack.session import Session

    credentials = of_operator(cloud)
    entry = Entry(
        url=url, internal_url=internal_url, region=region or credentials.region, name=name
    )

    async def done() -> list[str]:
        session = Session(credentials)
        try:
            return await register(session, entry)
        finally:
            await session.close()

    said = asyncio.run(done())
    print(json.dumps({"done": said}) if as_json else "\n".join(said))


@openstack.command()
def setup(
    *,
    url: Annotated[
        str, typer.Option("--url", help="Of the API, for the catalog; without it that stays.")
    ] = "",
    internal_url: InternalUrl = "",
    region: Region = "",
    name: Name = "octavia",
    user: Annotated[str, typer.Option("--user", help="Whom this service is.")] = "colonnade",
    project: Annotated[str, typer.Option("--project", help="Of the services.")] = "service",
    secret_file: Annotated[
        Path, typer.Option("--secret-file", help="Has the user's password, or will.")
    ] = Path("/etc/colonnade/keystone-password"),
    lb_network: LbNetworkName = "colonnade-lb",
    lb_cidr: Annotated[str, typer.Option("--lb-cidr", help="Of its subnet.")] = "198.18.0.0/16",
    lb_subnet: Annotated[
        str, typer.Option("--lb-subnet", help="The id of one that is there, instead.")
    ] = "",
    host: Annotated[
        str, typer.Option("--host", help="This machine, as Neutron calls it; else its name.")
    ] = "",
    flavor: Flavor = "colonnade-amphora",
    tag: Tag = "amphora",
    image: ImageFile = None,
    interface: Annotated[
        str, typer.Option("--interface", help="Of the catalog: public, internal or admin.")
    ] = "public",
    output: Annotated[
        Path | None, typer.Option("--output", help="A new file for the configuration.")
    ] = None,
    cloud: AnyCloud = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, say what.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make all that Colonnade needs in the cloud: user, LB network, flavor, image, endpoints.

    May be repeated: what is there stays. An administrator of the cloud calls it.
    """
    from colonnade.cli.cloud.guests import GuestWish
    from colonnade.cli.cloud.lb_network import LbWish
    from colonnade.cli.cloud.service_user import ServiceUser
    from colonnade.cli.cloud.setup import Wish, set_up
    from colonnade.drivers.openstack.catalog import Entry
    from colonnade.drivers.openstack.credentials import of_operator

    credentials = of_operator(cloud)
    region = region or credentials.region
    host = host or socket.gethostname()
    wish = Wish(
        user=ServiceUser(name=user, project=project, secret_file=secret_file, region=region),
        network=LbWish(network=lb_network, cidr=lb_cidr, host=host, subnet=lb_subnet),
        guests=GuestWish(flavor=flavor, tag=tag, file=image),
        entry=Entry(url=url, internal_url=internal_url, region=region, name=name) if url else None,
        interface=interface,
    )
    outcome = asyncio.run(set_up(credentials, wish, dry_run=dry_run))
    if output is not None and outcome.configuration and not dry_run:
        _write(output, outcome.configuration)
    print(msgspec.json.encode(outcome).decode() if as_json else _words(outcome))
    raise typer.Exit(int(bool(outcome.lacking)))


def _write(file: Path, text: str) -> None:
    """Never over something else."""
    from colonnade.domain.errors import Conflict

    if file.exists() and file.read_text() != text:
        raise Conflict(f"{file} says something else already: compare them, or name another file")
    file.write_text(text)


def _words(outcome: "Outcome") -> str:
    lines = list(outcome.done)
    if not outcome.changes:
        lines.append("nothing was to change" if outcome.dry_run else "nothing was changed")
    lines += [f"still to do: {one}" for one in outcome.lacking]
    if outcome.configuration:
        lines += ["", "# the configuration, beside what is there (docs/openstack.md):"]
        lines.append(outcome.configuration)
    if outcome.commands:
        lines.append("# on this machine, where Neutron's bridge br-int is Open vSwitch's, and then")
        lines += ["# `colonnade doctor`, which looks both ways:", *outcome.commands]
    return "\n".join(lines)

# SPDX-License-Identifier: Apache-2.0
"""`colonnade admin openstack`: what an operator does in the cloud that Colonnade serves, once.

It asks as OpenStack's own clients do: with the variables OS_*, or a cloud of clouds.yaml.
"""

import asyncio
import json
from typing import Annotated

import typer

openstack = typer.Typer(
    name="openstack", help="Colonnade as a service of an OpenStack cloud.", no_args_is_help=True
)


@openstack.callback()
def _group() -> None:
    """Makes `register` a word of its own."""


@openstack.command()
def register(
    *,
    url: Annotated[str, typer.Option("--url", help="Of the API, for users: https://HOST:PORT.")],
    internal_url: Annotated[
        str, typer.Option("--internal-url", help="The same for clients within the cloud.")
    ] = "",
    region: Annotated[str, typer.Option("--region", help="Where there are several.")] = "",
    name: Annotated[str, typer.Option("--name", help="Of the service.")] = "octavia",
    cloud: Annotated[str, typer.Option("--cloud", help="Of clouds.yaml; else what OS_* say.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")] = False,
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

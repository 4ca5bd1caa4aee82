# SPDX-License-Identifier: Apache-2.0
"""`colonnade serve FILE`: sites with certificates, from a few lines, and what they still lack.

Secrets first, for the load balancer refers to them; then what `apply` does; then it waits until
each site has its certificate, or it is known why not. Everything may be repeated.
"""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from colonnade.cli.apply.requests import carried_out, wish_of
from colonnade.cli.documents import sites
from colonnade.cli.documents.document import read_document
from colonnade.cli.documents.files import read_documents, written
from colonnade.cli.documents.sites import Site
from colonnade.cli.objects.commands import command
from colonnade.cli.objects.session import Session
from colonnade.cli.waiting import until
from colonnade.domain.errors import Unavailable
from colonnade.domain.ordering import CHALLENGE_PORT, OrderStatus

PAUSE_S: Final = 0.5
LOOK_UP_S: Final = 3.0
WAITING: Final = OrderStatus.WAITING.value
File = Annotated[
    Path, typer.Argument(help="YAML: `example.com: 10.0.0.5:8080` in a line.", show_default=False)
]
Name = Annotated[str, typer.Option("--name", help="Of the load balancer; the file's at first.")]
Subnet = Annotated[str, typer.Option("--vip-subnet", help="Where its address is, by name or id.")]
Within = Annotated[
    float,
    typer.Option("--within", metavar="SECONDS", help="So long it waits for certificates.", min=0),
]
Print = Annotated[
    bool, typer.Option("--print", help="Print the file for `apply`, and change nothing.")
]


async def _serve(
    session: Session,
    file: File,
    *,
    name: Name = "",
    vip_subnet: Subnet = "public-subnet",
    within: Within = 60.0,
    only_print: Print = False,
) -> None:
    """Serve sites: "example.com: 10.0.0.5:8080". Certificates are ordered and renewed by the
    system. Says what is missing; exit code 1 when something is."""
    wanted = sites.read_sites(read_documents(file), str(file))
    wished = sites.document(name or file.stem, vip_subnet, wanted)
    if only_print:
        print(written([wished]), end="")
        return
    secure = [site for site in wanted if site.https]
    secrets = {site.name: await _secret(session, site) for site in secure}
    wish = await wish_of(session, read_document(wished, where=str(file)), str(file))
    done = await carried_out(session, wish, wait=True, dry_run=False)
    shown = await session.rest.get(f"lbaas/loadbalancers/{done['id']}")
    vips = list(sites.addresses(shown["loadbalancer"]))
    found = await asyncio.gather(*(_ordered(session, one, within) for one in secrets.values()))
    secrets = dict(zip(secrets, found, strict=True))
    answers = [await _answer(site, secrets.get(site.name), vips) for site in wanted]
    if session.as_json:
        session.printer.json({"addresses": vips, "sites": answers, **done})
    else:
        _tell(session, vips, answers)
    if any(one["missing"] for one in answers):
        raise typer.Exit(1)


async def _secret(session: Session, site: Site) -> Any:
    """That of the site's name, which is ordered if there is none. One that a person uploaded is
    used as it is."""
    noun = session.names.noun("secret")
    there = await session.names.every(noun, query={"name": site.name})
    found = next((one for one in there if one["name"] == site.name), None)
    wish: dict[str, Any] = {"host_names": list(site.names)}
    if found is None:
        return await session.rest.post(noun.path, {"secret": {"name": site.name, **wish}})
    names = found.get("host_names")
    # To say the same once more is to ask for another attempt.
    is_failing = found.get("order_status") == OrderStatus.FAILING.value
    if names and (names != wish["host_names"] or is_failing):
        found = (await session.rest.put(f"{noun.path}/{found['id']}", {"secret": wish}))["secret"]
    return found


async def _ordered(session: Session, secret: Any, within_s: float) -> Any:
    """As it is once its order has come to something, or time is up."""

    async def look() -> Any:
        return (await session.rest.get(f"lbaas/secrets/{secret['id']}"))["secret"]

    async def is_decided() -> Any:
        found = await look()
        return found if found.get("order_status") != WAITING else None

    try:
        return await until(is_decided, within_s=within_s, what="a certificate", pause_s=PAUSE_S)
    except Unavailable:
        return await look()


async def _answer(site: Site, secret: Any, vips: Sequence[str]) -> dict[str, Any]:
    """One site as it is told. What does not work is missing; what may be why is said beside it."""
    scheme = "https" if site.https else "http"
    missing, hints = [], []
    status = secret.get("order_status") if secret is not None else None
    if status is not None and (secret["stand_in"] or status != OrderStatus.ISSUED.value):
        again = f" Tried again: {secret['next_order_at']} UTC." if secret["next_order_at"] else ""
        missing.append(f"certificate: {secret['order_reason'] or 'It is being ordered.'}{again}")
    if (site.https and missing) or not site.https:
        hints = [one for name in site.names for one in await _leads_elsewhere(name, vips)]
    if missing and not hints:
        hints = await _unreachable(vips[0])
    return {
        "site": site.name,
        "url": f"{scheme}://{site.name}/",
        "order_status": status,
        "renewed_at": secret["next_order_at"] if status and not missing else None,
        "missing": missing,
        "hints": hints,
    }


async def _leads_elsewhere(name: str, vips: Sequence[str]) -> list[str]:
    """As it is seen from here; the issuer may see it otherwise."""
    found: set[str] = set()
    try:
        async with asyncio.timeout(LOOK_UP_S):
            loop = asyncio.get_running_loop()
            said = await loop.getaddrinfo(name, CHALLENGE_PORT, type=socket.SOCK_STREAM)
            found = {str(one[4][0]) for one in said}
    except (OSError, TimeoutError):
        pass
    if found & set(vips):
        return []
    leads = f"leads to {', '.join(sorted(found))}" if found else "is not in DNS"
    return [f"{name} {leads} (seen from here): make its A record {' or '.join(vips)}"]


async def _unreachable(vip: str) -> list[str]:
    try:
        async with asyncio.timeout(LOOK_UP_S):
            _, writer = await asyncio.open_connection(vip, CHALLENGE_PORT)
        writer.close()
    except (OSError, TimeoutError):
        return [f"port {CHALLENGE_PORT} of {vip} cannot be reached from here: look at firewalls"]
    return []


def _tell(session: Session, vips: Sequence[str], answers: Sequence[dict[str, Any]]) -> None:
    session.printer.said(f"address: {', '.join(vips)}")
    for one in answers:
        until_then = f"; renewed {one['renewed_at']} UTC" if one["renewed_at"] else ""
        word = "not yet" if one["missing"] else f"served{until_then}"
        session.printer.said(f"{one['url']}  {word}")
        for line in (*one["missing"], *one["hints"]):
            session.printer.said(f"  {line}")


run_serve = command(_serve)

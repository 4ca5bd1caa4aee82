# SPDX-License-Identifier: Apache-2.0
"""All members of a pool at once: from words, from a file, or from a pipe."""

from pathlib import Path
from typing import Annotated, Any

import typer

from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.operations import Waiting
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.settling import settled
from colonnade.domain.errors import Invalid

Pool = Annotated[
    str,
    typer.Argument(
        metavar="POOL", autocompletion=names_of("pool"), help="The pool, by name or id.",
        show_default=False,
    ),
]  # fmt: skip
Members = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ADDRESS:PORT[,KEY=VALUE]]...",
        help="As 10.0.0.11:8080 or [2001:db8::1]:80,weight=5,name=web1.",
        show_default=False,
    ),
]
File = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="A list of members in YAML or JSON; - is standard input."),
]
Additive = Annotated[bool, typer.Option("--add", help="Keep the existing members.")]


async def member_replace(
    session: Session,
    pool: Pool,
    members: Members = None,
    *,
    file: File = None,
    add: Additive = False,
    wait: Waiting = False,
) -> None:
    """Replace all members of a pool in one change."""
    wanted = [read_member(text) for text in members or ()]
    if file is not None:
        wanted += _read(file)
    if not wanted and file is None:
        raise Invalid("give members, or --file; an empty list in a file removes all members")
    pool_id = await session.id("pool", pool)
    for member in wanted:
        if "subnet" in member:
            member["subnet_id"] = await session.id("subnet", str(member.pop("subnet")))
    query = {"additive_only": "true"} if add else None
    await session.rest.put(f"lbaas/pools/{pool_id}/members", {"members": wanted}, query)
    if wait:
        shown = await session.object("pool", pool_id)
        await settled(session, session.names.noun("pool"), shown)
    noun = session.names.noun("member")
    session.printer.list(await session.names.every(noun, pool_id), noun.columns)


def read_member(text: str) -> dict[str, Any]:
    """A member in one word, as the help says."""
    place, *rest = text.split(",")
    address, colon, port = place.rpartition(":")
    if not colon or not port.isdecimal():
        raise Invalid(f"a member is ADDRESS:PORT, and IPv6 is [ADDRESS]:PORT; not '{text}'")
    member: dict[str, Any] = {"address": address.strip("[]"), "protocol_port": int(port)}
    for one in rest:
        key, equals, value = one.partition("=")
        if not equals:
            raise Invalid(f"'{one}' is not KEY=VALUE (in '{text}')")
        member[key] = _read_value(value)
    return member


def _read_value(value: str) -> Any:
    words = {"true": True, "yes": True, "false": False, "no": False}
    return words.get(value.lower(), int(value) if value.isdecimal() else value)


def _read(file: Path) -> list[dict[str, Any]]:
    from colonnade.cli.documents.files import read_documents

    found: list[Any] = []
    for document in read_documents(file):
        inside = document.get("members") if isinstance(document, dict) else document
        if not isinstance(inside, list) or not all(isinstance(one, dict) for one in inside):
            raise Invalid(f"{file} is not a list of members")
        found += inside
    return [dict(one) for one in found]

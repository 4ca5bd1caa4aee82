# SPDX-License-Identifier: Apache-2.0
"""`colonnade token`: tokens of our own, made, listed and revoked in the system's database.

A secret is printed once, as it is made, alone on standard output; it is nowhere afterwards.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from colonnade.cli.local import finding

if TYPE_CHECKING:  # a database's driver is nothing that every command should load
    from colonnade.domain.ids import ProjectId
    from colonnade.store.postgres.database import Connection
    from colonnade.store.requests.tokens import Token

DAYS_MAX = 36_500
COLUMNS = ("PROJECT", "ROLES", "NAME", "CREATED", "EXPIRES")
T = TypeVar("T")


class Role(StrEnum):
    """Keystone's own, and those of the older policy of Octavia."""

    READER = "reader"
    MEMBER = "member"
    ADMIN = "admin"
    SERVICE = "service"
    LB_OBSERVER = "load-balancer_observer"
    LB_GLOBAL_OBSERVER = "load-balancer_global_observer"
    LB_MEMBER = "load-balancer_member"
    LB_QUOTA_ADMIN = "load-balancer_quota_admin"
    LB_ADMIN = "load-balancer_admin"


token = typer.Typer(name="token", help="Tokens for the API's mode 'token'.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")]


@token.command()
def create(
    *,
    project: Annotated[str, typer.Option("--project", help="The token's project.")],
    role: Annotated[list[Role], typer.Option("--role", help="May be given more than once.")],
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    expires: Annotated[
        float | None, typer.Option("--expires", help="Days until it expires.", min=0)
    ] = None,
    as_json: AsJson = False,
    config: finding.ConfigFile = None,
    state: finding.State = None,
) -> None:
    """Create a token and print its secret. The secret is shown only now."""
    from colonnade.domain.errors import Invalid
    from colonnade.domain.ids import ProjectId
    from colonnade.domain.limits import PROJECT_ID_MAX, TEXT_MAX
    from colonnade.store.requests import tokens

    if not 1 <= len(project) <= PROJECT_ID_MAX:
        raise Invalid(f"--project has 1 to {PROJECT_ID_MAX} characters")
    if len(name) > TEXT_MAX:
        raise Invalid(f"--name has at most {TEXT_MAX} characters")
    if expires is not None and expires > DAYS_MAX:
        raise Invalid(f"--expires is at most {DAYS_MAX} days")
    roles = tuple(dict.fromkeys(str(word) for word in role))
    new, secret, digest = new_token(ProjectId(project), roles, name)
    made = _within(
        lambda connection: tokens.add(connection, new, digest, days=expires),
        config,
        state,
    )
    if as_json:
        print(json.dumps({"token": secret} | _shown(made)))
        return
    typer.echo(f"token {made.id} for project {project}; its secret is shown only now:", err=True)
    print(secret)


def new_token(
    project: "ProjectId", roles: tuple[str, ...], name: str
) -> tuple["Token", str, bytes]:
    """A token that is in no database yet, its secret, and by what it is found."""
    from colonnade.api.identity.tokens import digest_of, new_secret
    from colonnade.domain.ids import new_id
    from colonnade.store.requests.tokens import Token, TokenId

    new = Token(id=TokenId(new_id()), project_id=project, roles=roles, name=name)
    secret = new_secret()
    return new, secret, digest_of(secret)


@token.command("list")
def list_tokens(
    as_json: AsJson = False, config: finding.ConfigFile = None, state: finding.State = None
) -> None:
    """List tokens, without their secrets."""
    from colonnade.store.requests import tokens

    kept = _within(tokens.find, config, state)
    if as_json:
        print(json.dumps([_shown(one) for one in kept]))
        return
    from rich.console import Console
    from rich.table import Column, Table

    whole = Column("ID", no_wrap=True, min_width=36)  # it is what `revoke` takes
    others = [Column(word, overflow="fold") for word in COLUMNS]
    table = Table(whole, *others, box=None)
    for one in kept:
        row = _shown(one)
        expires = "expired" if one.is_expired else row["expires_at"] or "never"
        roles = ", ".join(one.roles)
        table.add_row(one.id, one.project_id, roles, one.name, row["created_at"], expires)
    Console().print(table)


@token.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID")],
    config: finding.ConfigFile = None,
    state: finding.State = None,
) -> None:
    """Revoke a token. It stops working within a few seconds."""
    from colonnade.domain.errors import NotFound
    from colonnade.store.requests import tokens

    if not _within(lambda connection: tokens.revoke(connection, token_id), config, state):
        raise NotFound(f"Token {token_id} not found.")


def _shown(one: "Token") -> dict[str, str]:
    times = {"created_at": one.created_at, "expires_at": one.expires_at}
    return {
        "id": one.id,
        "project_id": one.project_id,
        "roles": ",".join(one.roles),
        "name": one.name,
        **{word: f"{at:%Y-%m-%dT%H:%M:%S}" if at else "" for word, at in times.items()},
    }


def _within(
    work: "Callable[[Connection], Awaitable[T]]", config: Path | None, state: Path | None
) -> T:
    """Do it in the database of that configuration; else of the system with that state."""
    from colonnade.store.postgres.database import Database
    from colonnade.store.postgres.places import login

    url = login(finding.settings_of(config, state))

    async def done() -> T:
        database = await Database.connect(url)
        try:
            async with database.read() as connection:
                return await work(connection)
        finally:
            await database.close()

    return asyncio.run(done())

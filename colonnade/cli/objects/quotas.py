# SPDX-License-Identifier: Apache-2.0
"""Quotas: of a project, and the default for projects without one. -1 is no limit.

A quota is named by its project's id; without an id it is that of the caller's own project.
"""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from colonnade.cli.nouns.catalogue import QUOTAS
from colonnade.cli.objects.session import Session
from colonnade.domain.errors import Invalid

Project = Annotated[str, typer.Argument(metavar="PROJECT", help="A project's id.")]
Limit = int | None


async def quota_show(session: Session, of: Project) -> None:
    """Show a project's quota."""
    _show(session, (await session.rest.get(f"lbaas/quotas/{quote(of, safe='')}"))["quota"])


async def quota_defaults(session: Session) -> None:
    """Show the quota of projects that have none of their own."""
    _show(session, (await session.rest.get("lbaas/quotas/defaults"))["quota"])


async def quota_set(
    session: Session,
    of: Project,
    *,
    loadbalancer: Annotated[Limit, typer.Option("--lb", min=-1)] = None,
    listener: Annotated[Limit, typer.Option(min=-1)] = None,
    pool: Annotated[Limit, typer.Option(min=-1)] = None,
    member: Annotated[Limit, typer.Option(min=-1)] = None,
    healthmonitor: Annotated[Limit, typer.Option("--hm", min=-1)] = None,
    l7policy: Annotated[Limit, typer.Option(min=-1)] = None,
    l7rule: Annotated[Limit, typer.Option(min=-1)] = None,
) -> None:
    """Change some of a project's limits; -1 is no limit."""
    limits = {
        "loadbalancer": loadbalancer,
        "listener": listener,
        "pool": pool,
        "member": member,
        "healthmonitor": healthmonitor,
        "l7policy": l7policy,
        "l7rule": l7rule,
    }
    said = {name: limit for name, limit in limits.items() if limit is not None}
    if not said:
        raise Invalid("say which limit to change; --help lists them")
    answer = await session.rest.put(f"lbaas/quotas/{quote(of, safe='')}", {"quota": said})
    _show(session, answer["quota"])


async def quota_reset(session: Session, of: Project) -> None:
    """Reset a project to the default quota."""
    await session.rest.delete(f"lbaas/quotas/{quote(of, safe='')}")
    if session.as_json:
        session.printer.json({"deleted": of})
    else:
        session.printer.said(f"project {of} has the default quota")


def _show(session: Session, shown: dict[str, Any]) -> None:
    if session.as_json:
        session.printer.json(shown)
        return
    known = {one.name for one in QUOTAS.attributes} | {"project_id"}
    session.printer.one({name: value for name, value in shown.items() if name in known})

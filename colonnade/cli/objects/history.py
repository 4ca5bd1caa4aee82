# SPDX-License-Identifier: Apache-2.0
"""What happened: generations of a load balancer, the way back to one, and events as they come."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from colonnade.cli.nouns.description import Column, Noun
from colonnade.cli.objects.operations import Waiting
from colonnade.cli.objects.printing import moment, printable, status
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.settling import settled
from colonnade.cli.objects.tree_drawing import LoadBalancer
from colonnade.domain.errors import Unreachable

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show events as they happen.")]
Generation = Annotated[int, typer.Argument(help="As `lb history` lists them.", min=0)]
Since = Annotated[
    str, typer.Option(help="Only events after the one with this id.", show_default=False)
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="Only of this kind; repeat for more."),
]
RETRY_S: Final = 1.0
_NOUNS: Final = {
    "loadbalancer": "load balancer", "healthmonitor": "health monitor", "l7policy": "L7 policy",
    "l7rule": "L7 rule",
}  # fmt: skip
HISTORY: Final = Noun(
    word="history", noun="generation", help="generations",
    path="lbaas/loadbalancers/{parent}/history", one="generation", many="history",
    columns=(
        Column("Generation", "generation"), Column("At", "at"), Column("By", "by"),
        Column("What", "what", wraps=True),
    ),
)  # fmt: skip

EVENTS: Final = Noun(
    word="event", noun="event", help="events", path="lbaas/events", one="event", many="events",
    columns=(),
)  # fmt: skip


async def lb_history(session: Session, load_balancer: LoadBalancer) -> None:
    """List the changes of a load balancer: who changed what, and when."""
    root_id = await session.id("lb", load_balancer)
    session.printer.list(await session.names.every(HISTORY, root_id), HISTORY.columns)


async def lb_rollback(
    session: Session, load_balancer: LoadBalancer, generation: Generation, wait: Waiting = False
) -> None:
    """Change a load balancer back to an earlier generation."""
    root_id = await session.id("lb", load_balancer)
    path = f"lbaas/loadbalancers/{root_id}/rollback"
    answer = await session.rest.post(path, {"generation": generation})
    if wait:
        await settled(session, session.names.noun("lb"), {"id": root_id})
    if session.as_json:
        session.printer.json(answer)
    else:
        session.printer.said(
            f"load balancer {load_balancer} is as in generation {generation} again"
        )


async def lb_events(
    session: Session,
    load_balancer: LoadBalancer,
    *,
    follow: Follow = False,
    since: Since = "",
    kind: Kinds = None,
) -> None:
    """List the events of a load balancer."""
    root_id = await session.id("lb", load_balancer)
    await _events(session, _placed(EVENTS, root_id), follow, _query(since, kind))


async def event_list(
    session: Session, *, follow: Follow = False, since: Since = "", kind: Kinds = None
) -> None:
    """List the events of all load balancers that you may see."""
    await _events(session, _placed(EVENTS, ""), follow, _query(since, kind))


def _placed(noun: Noun, root_id: str) -> Noun:
    place = f"lbaas/loadbalancers/{root_id}/events" if root_id else "lbaas/events"
    return msgspec.structs.replace(noun, path=place)


def _query(since: str, kinds: list[str] | None) -> dict[str, str]:
    said = {"since": since, "kind": ",".join(kinds or ())}
    return {name: word for name, word in said.items() if word}


async def _events(session: Session, noun: Noun, follow: bool, query: dict[str, str]) -> None:
    if follow:
        await _followed(session, noun.path, query)
        return
    found = await session.names.every(noun, query=query)
    if session.as_json:
        session.printer.json(found)
        return
    for event in found:
        session.printer.show(line(event))


async def _followed(session: Session, path: str, query: dict[str, str]) -> None:
    """As events come, and on from the last one when the connection was lost."""
    began = False
    while True:
        try:
            async for event in _stream(session.rest.lines(path, query)):
                began = True
                query["since"] = str(event.get("id", ""))
                if session.as_json:  # one object in each line, for those who read a stream
                    print(msgspec.json.encode(event).decode(), flush=True)
                else:
                    session.printer.show(line(event))
        except Unreachable:
            if not began:
                raise
        await asyncio.sleep(RETRY_S)


async def _stream(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """The `data` of server-sent events that are JSON objects."""
    held: list[str] = []
    async for text in lines:
        if text.startswith("data:"):
            held.append(text.removeprefix("data:").strip())
        elif not text and held:
            event = msgspec.json.decode("\n".join(held))
            held.clear()
            if isinstance(event, dict):
                yield event


def line(event: dict[str, Any]) -> Text:
    """When, about what, and what: a status that changed, or what was done."""
    at, about = str(event.get("at") or ""), str(event.get("object_type") or "")
    name = str(event.get("object_name") or event.get("object_id") or "")
    above = str(event.get("loadbalancer_name") or event.get("loadbalancer_id") or "")
    of = f" of {above}" if above and about != "loadbalancer" else ""
    words = [moment(at) or at, f"{_NOUNS.get(about, about)} {name}{of}"]
    text = Text("  ").join(Text(printable(word)) for word in words if word.strip())
    before, after = event.get("operating_status_before"), event.get("operating_status")
    text.append("  ")
    if after:
        turn = [status(str(after))]
        if before and before != after:
            turn = [status(str(before)), Text("->"), *turn]
        text.append(Text(" ").join(turn))
        if event.get("operating_status_reason"):
            text.append(printable(f"  {event['operating_status_reason']}"))
        return text
    text.append(printable(str(event.get("kind") or "")))
    for name in ("provisioning_status", "message"):
        if event.get(name):
            text.append("  ")
            text.append(status(printable(str(event[name]))))
    return text

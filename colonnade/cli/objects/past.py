# SPDX-License-Identifier: Apache-2.0
"""What happened: generations of a load balancer, the way back to one, and events as they come."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from colonnade.cli.objects.description import Column, Noun
from colonnade.cli.objects.desk import Desk
from colonnade.cli.objects.operations import Waiting
from colonnade.cli.objects.printing import printable
from colonnade.cli.objects.roots import LoadBalancer
from colonnade.cli.objects.settling import settled

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show events as they happen.")]
Generation = Annotated[int, typer.Argument(help="As `lb history` lists them.", min=0)]
After = Annotated[str, typer.Option(help="Only what came after the event with this id.")]
HISTORY: Final = Noun(
    word="history", noun="generation", help="generations",
    path="lbaas/loadbalancers/{parent}/history", one="generation", many="history",
    columns=(
        Column("Generation", "generation"), Column("At", "at"), Column("By", "by"),
        Column("What", "what"),
    ),
)  # fmt: skip


async def lb_history(desk: Desk, load_balancer: LoadBalancer) -> None:
    """List its generations: who changed what, and when."""
    root_id = await desk.id("lb", load_balancer)
    desk.printer.list(await desk.names.every(HISTORY, root_id), HISTORY.columns)


async def lb_rollback(
    desk: Desk, load_balancer: LoadBalancer, generation: Generation, wait: Waiting = False
) -> None:
    """Make it as it was in an earlier generation."""
    root_id = await desk.id("lb", load_balancer)
    path = f"lbaas/loadbalancers/{root_id}/rollback"
    answer = await desk.rest.post(path, {"generation": generation})
    if wait:
        await settled(desk, desk.names.noun("lb"), {"id": root_id})
    if desk.as_json:
        desk.printer.json(answer)
    else:
        desk.printer.said(f"load balancer {load_balancer} is as in generation {generation} again")


async def lb_events(
    desk: Desk, load_balancer: LoadBalancer, follow: Follow = False, after: After = ""
) -> None:
    """List what happened to it."""
    root_id = await desk.id("lb", load_balancer)
    await _events(desk, f"lbaas/loadbalancers/{root_id}/events", follow, after)


async def event_list(desk: Desk, follow: Follow = False, after: After = "") -> None:
    """List what happened, to all that one may see."""
    await _events(desk, "lbaas/events", follow, after)


async def _events(desk: Desk, path: str, follow: bool, after: str) -> None:
    query = {"after": after} if after else {}
    if not follow:
        found = _listed(await desk.rest.get(path, query))
        if desk.as_json:
            desk.printer.json(found)
        for event in found if not desk.as_json else ():
            desk.printer.show(line(event))
        return
    async for event in _stream(desk.rest.lines(path, query)):
        if desk.as_json:  # one object in each line, for those who read a stream
            print(msgspec.json.encode(event).decode(), flush=True)
        else:
            desk.printer.show(line(event))


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
    """When, what kind, about what, and the rest of it."""
    known = ("at", "kind", "object_type", "object_name", "object_id")
    rest = {name: one for name, one in event.items() if name not in (*known, "id") and one}
    words = [str(event.get("at") or ""), str(event.get("kind") or event.get("type") or "")]
    words += [str(event[name]) for name in known[2:] if event.get(name)]
    text = Text("  ").join(Text(printable(word)) for word in words if word)
    for name, one in rest.items():
        text.append("  ")
        text.append(printable(f"{name}={_short(one)}"), style="dim")
    return text


def _short(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _listed(answer: Any) -> list[dict[str, Any]]:
    for value in answer.values():
        if isinstance(value, list):
            return value
    return []

# SPDX-License-Identifier: Apache-2.0
"""`--dry-run`: the endpoint carries a change out, describes it, and does not keep it.

An endpoint that does not know the word would carry the change out, so it is first asked for
something that only those have that know it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from rich.text import Text

from colonnade.cli.documents.attributes import WORDS
from colonnade.cli.documents.difference import title, words
from colonnade.cli.objects.printing import printable
from colonnade.cli.objects.session import Session
from colonnade.domain.errors import Broken, NotFound, Refused

QUERY: Final[Mapping[str, str]] = {"dry_run": "true"}
COLOURS: Final = {"+": "green", "-": "red", "~": "yellow", "@": "cyan"}
COSTS: Final = {
    "build": "an amphora is created for it",
    "remove": "its amphora is deleted",
    "replace": "an amphora that does not fit the flavor is replaced; the VIP stays",
    "reload": "its amphora reloads HAProxy; open connections stay",
    "runtime": "its amphora changes without a reload",
    "nothing": "its amphora does not change",
}
# An event and a change call a rule differently than a document does.
KINDS: Final = {"l7rule": "rule"}


async def tried(session: Session, ask: Callable[[Mapping[str, str]], Awaitable[Any]]) -> Any:
    """What the endpoint says the change would be; `ask` sends it, with these words."""
    try:
        await session.rest.get("lbaas/events", {"limit": "1"})
    except NotFound as error:
        raise Refused(
            f"{session.rest.endpoint} does not support dry runs; nothing was sent"
        ) from error
    answer = await ask(QUERY)
    found = answer.get("dry_run") if isinstance(answer, dict) else None
    if found is None and isinstance(answer, dict) and "changes" in answer:
        found = answer  # out of its wrapper already
    if found is None:
        raise Broken(f"{session.rest.endpoint} does not support dry runs, and has made the change")
    return found


def show(session: Session, found: Mapping[str, Any]) -> None:
    for change in found.get("changes") or ():
        for line, sign in _lines(change):
            session.printer.show(Text(printable(f"{sign} {line}"), style=COLOURS[sign]))
    if not found.get("changes"):
        session.printer.said("nothing would change")
    show_cost(session, found)


def show_cost(session: Session, found: Mapping[str, Any]) -> None:
    """What the change would lack, and what it would take."""
    for issue in found.get("issues") or ():
        session.printer.show(Text(printable(f"! {issue}"), style="yellow"))
    configuration = found.get("configuration") or {}
    if configuration.get("action"):
        action = str(configuration["action"])
        session.printer.said(COSTS.get(action, action))
    for line in str(configuration.get("diff") or "").splitlines():
        session.printer.show(Text(printable(line), style=COLOURS.get(line[:1], "")))


def _lines(change: Mapping[str, Any]) -> list[tuple[str, str]]:
    """An object in a line, and what differs of it below."""
    before, after = change.get("before"), change.get("after")
    kind = KINDS.get(str(change.get("type")), str(change.get("type")))
    where = f" of {change['parent_name']}" if change.get("parent_name") else ""
    if before is None or after is None:
        whole = after or before or {}
        called = title(kind, whole) if kind in WORDS else f"{kind} {change.get('id')}"
        return [(f"{called}{where}", "-" if after is None else "+")]
    name = change.get("name") or after.get("name") or change.get("id")
    lines = [(f"{WORDS.get(kind, kind)} {name}{where}", "~")]
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            lines.append((f"  {name}: {words(before.get(name))} -> {words(after.get(name))}", "~"))
    return lines

# SPDX-License-Identifier: Apache-2.0
"""list, show, create, set and delete: one function each, for every noun of the tables.

What a verb asks of the endpoint is the contract's; nothing of ours is added unless it was asked
for on the command line.
"""

from collections.abc import Awaitable, Callable, Mapping
from inspect import Parameter
from typing import Any, Final

import typer

from colonnade.cli.nouns.description import Column, Noun
from colonnade.cli.objects import attributes, dry_runs, watching
from colonnade.cli.objects.commands import command, once, parameter
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.names_of_ids import NamesOfIds
from colonnade.cli.objects.options import body, cleared, option
from colonnade.cli.objects.session import Session
from colonnade.cli.objects.settling import gone, roots, settled
from colonnade.domain.errors import Invalid

WAIT: Final = parameter(
    "wait", bool, False, typer.Option("--wait", help="Wait until it is done, or has failed.")
)
DRY_RUN: Final = parameter(
    "dry_run", bool, False,
    typer.Option("--dry-run", help="Show what would change; change nothing."),
)  # fmt: skip
WATCH: Final = parameter(
    "watch", bool, False, typer.Option("--watch", help="Refresh in place.")
)  # fmt: skip
ALL: Final = parameter(
    "everything", bool, False, typer.Option("--all", help="Also attributes that are not set.")
)
CLEAR: Final = parameter(
    "clear",
    list[str] | None,
    None,
    typer.Option("--clear", help="An attribute to reset; repeat for more.", metavar="ATTRIBUTE"),
)


def verb(noun: Noun, word: str) -> Any:
    """The command `word` of the noun."""
    return _VERBS[word](noun)


def called(noun: Noun) -> Parameter:
    """The object's name or id, as the last positional word."""
    metavar = "ID" if not noun.named else "NAME" if noun.key == "name" else "NAME|ID"
    argument = typer.Argument(
        metavar=metavar, autocompletion=names_of(noun.word), help=f"The {noun.noun}.",
        show_default=False,
    )  # fmt: skip
    return parameter("called", str, ..., argument)


def above(noun: Noun) -> list[Parameter]:
    """The parent's name or id, first, for nouns that live below another."""
    if not noun.parent:
        return []
    argument = typer.Argument(
        metavar=noun.parent.upper(), autocompletion=names_of(noun.parent),
        help=f"The {noun.parent}, by name or id.", show_default=False,
    )  # fmt: skip
    return [parameter("parent", str, ..., argument)]


async def parent_id(session: Session, noun: Noun, words: dict[str, Any]) -> str:
    return await session.id(noun.parent, words.pop("parent")) if noun.parent else ""


def _list(noun: Noun) -> Any:
    texts = list[str] | None
    parameters = [
        *above(noun),
        *(option(one) for one in noun.filters),
        parameter(
            "where", texts, None,
            typer.Option(
                "--where", metavar="ATTRIBUTE=VALUE", help="Only with this value; repeat for more.",
            ),
        ),
        parameter(
            "tag", texts, None,
            typer.Option("--tag", metavar="TAG", help="Only with this tag; repeat for more."),
        ),
        parameter(
            "sort", str, "",
            typer.Option(
                help="Attribute, or attribute:desc.", show_default=False, metavar="ATTRIBUTE"
            ),
        ),
        parameter(
            "columns", texts, None,
            typer.Option("--columns", "-c", metavar="ATTRIBUTES", help="Show these instead."),
        ),
        WATCH,
    ]  # fmt: skip

    async def act(session: Session, **words: Any) -> None:
        parent = await parent_id(session, noun, words)
        query: dict[str, Any] = await body(session, noun.filters, words)
        wanted = _where(words["where"] or ())
        attributes.check(noun, wanted.keys() - attributes.QUERIES)
        query |= wanted
        if words["tag"]:
            query["tags"] = words["tag"]
        if words["sort"]:
            attributes.check(noun, [one.partition(":")[0] for one in once([words["sort"]])])
            query["sort"] = words["sort"]
        chosen = [Column(one, one) for one in once(words["columns"] or ())]
        columns, called = chosen or noun.columns, NamesOfIds(session)

        async def look() -> list[Mapping[str, Any]]:
            rows = await session.names.every(noun, parent, query)
            if chosen:
                attributes.check(noun, [one.of for one in chosen], rows)
            return list(rows) if session.as_json else await called.rows(rows, columns)

        def draw(rows: list[Mapping[str, Any]]) -> Any:
            return session.printer.table(rows, columns)

        if words["watch"]:
            await watching.watch(session, look, draw, until_settled=False)
        else:
            session.printer.list(await look(), columns)

    return command(act, parameters, f"List {noun.help}.")


def _where(texts: Any) -> dict[str, str]:
    query = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise Invalid(f"--where takes ATTRIBUTE=VALUE, not '{text}'")
        query[name] = value
    return query


def _show(noun: Noun) -> Any:
    async def act(session: Session, **words: Any) -> None:
        parent = await parent_id(session, noun, words)
        object_id = await session.id(noun.word, words["called"], parent)

        async def look() -> dict[str, Any]:
            answer = await session.rest.get(f"{noun.place(parent)}/{object_id}")
            shown: dict[str, Any] = answer[noun.one]
            return shown

        def draw(shown: dict[str, Any]) -> Any:
            return session.printer.card(shown, everything=words["everything"])

        if words.get("watch"):
            await watching.watch(session, look, draw, until_settled=True)
        else:
            session.printer.one(await look(), everything=words["everything"])

    watch = [WATCH] if noun.waits else []
    return command(act, [*above(noun), called(noun), ALL, *watch], f"Show {_a(noun)}.")


def _create(noun: Noun) -> Any:
    name = typer.Argument(metavar="NAME", help="Its name.", show_default=False)
    named = [parameter("name", str, ... if noun.key == "name" else "", name)] if noun.named else []
    options = [option(one, required=one.required) for one in noun.attributes]
    wait = [WAIT, DRY_RUN] if noun.waits else []

    async def act(session: Session, **words: Any) -> None:
        parent = await parent_id(session, noun, words)
        said = await body(session, noun.attributes, words)
        if words.get("name"):
            said["name"] = words["name"]
        place, wish = noun.place(parent), {noun.one: said}
        if words.get("dry_run"):
            await _tried(session, lambda query: session.rest.post(place, wish, query))
            return
        made = await session.rest.post(place, wish)
        if words.get("wait"):
            made = await settled(session, noun, made, parent)
        session.printer.one(made)

    return command(act, [*above(noun), *named, *options, *wait], f"Create {_a(noun)}.")


def _set(noun: Noun) -> Any:
    changeable = [one for one in noun.attributes if not one.fixed]
    rename = [
        parameter("rename", str | None, None, typer.Option("--name", help="A new name."))
    ] if noun.named and noun.key != "name" else []  # fmt: skip
    wait = [WAIT, DRY_RUN] if noun.waits else []

    async def act(session: Session, **words: Any) -> None:
        parent = await parent_id(session, noun, words)
        said: dict[str, Any] = cleared(noun, words["clear"] or ())
        said |= await body(session, changeable, words)
        if words.get("rename") is not None:
            said["name"] = words["rename"]
        if not said:
            raise Invalid(f"say what to change; --help lists what {_a(noun)} has")
        object_id = await session.id(noun.word, words["called"], parent)
        place, wish = f"{noun.place(parent)}/{object_id}", {noun.one: said}
        if words.get("dry_run"):
            await _tried(session, lambda query: session.rest.put(place, wish, query))
            return
        answer = await session.rest.put(place, wish)
        shown = answer[noun.one]
        if words.get("wait"):
            shown = await settled(session, noun, shown, parent)
        if session.as_json:
            session.printer.json(shown)
        else:
            session.printer.said(f"changed {_title(noun, shown)}: {', '.join(said)}")

    parameters = [*above(noun), called(noun), *rename, *map(option, changeable), CLEAR, *wait]
    return command(act, parameters, f"Change {_a(noun)}.")


def _delete(noun: Noun) -> Any:
    cascade = [
        parameter(
            "cascade", bool, False,
            typer.Option("--cascade", help="Delete everything under it too."),
        )
    ] if noun.word == "lb" else []  # fmt: skip
    wait = [WAIT, DRY_RUN] if noun.waits else []

    async def act(session: Session, **words: Any) -> None:
        parent = await parent_id(session, noun, words)
        object_id = await session.id(noun.word, words["called"], parent)
        place = f"{noun.place(parent)}/{object_id}"
        waits = words.get("wait")
        shown = (await session.rest.get(place))[noun.one] if waits else {}
        root_ids = await roots(session, noun, shown, parent) if waits else []
        query = {"cascade": "true"} if words.get("cascade") else {}
        if words.get("dry_run"):
            await _tried(session, lambda dry: session.rest.delete(place, {**query, **dry}))
            return
        await session.rest.delete(place, query)
        if waits:
            await gone(session, noun, object_id, parent, root_ids)
        if session.as_json:
            session.printer.json({"deleted": object_id})
        else:
            session.printer.said(f"deleted {noun.noun} {words['called']}")

    return command(act, [*above(noun), called(noun), *cascade, *wait], f"Delete {_a(noun)}.")


async def _tried(session: Session, ask: Callable[[Mapping[str, str]], Awaitable[Any]]) -> None:
    found = await dry_runs.tried(session, ask)
    if session.as_json:
        session.printer.json(found)
    else:
        dry_runs.show(session, found)


def _a(noun: Noun) -> str:
    return f"{'an' if noun.noun[0].lower() in 'aeiou' else 'a'} {noun.noun}"


def _title(noun: Noun, shown: Mapping[str, Any]) -> str:
    return f"{noun.noun} {shown.get('name') or shown.get('id')}"


_VERBS: Final[Mapping[str, Callable[[Noun], Any]]] = {
    "list": _list,
    "show": _show,
    "create": _create,
    "set": _set,
    "delete": _delete,
}

# SPDX-License-Identifier: Apache-2.0
"""From tables to commands: list, show, create, set and delete of any noun.

A command is an async function of a `Session` and the words that were typed; the options that say
which endpoint, and as whom, are added to each here and nowhere else.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from colonnade.cli.objects.names import Names
from colonnade.cli.objects.printing import Printer
from colonnade.cli.objects.session import WHERE, Session, Where

Act: TypeAlias = Callable[..., Awaitable[None]]

ENDPOINT: Final = "Endpoint"
_COMMON: Final = (
    ("as_json", bool, False, typer.Option("--json", help="Print JSON and nothing else.")),
    (
        "at_url", str, "",
        typer.Option(
            "--url", envvar="COLONNADE_URL", help="The API's address.", show_default=False,
            rich_help_panel=ENDPOINT,
        ),
    ),
    (
        "with_token", str, "",
        typer.Option(
            "--token", envvar="COLONNADE_TOKEN", help="Sent as X-Auth-Token.", show_default=False,
            rich_help_panel=ENDPOINT,
        ),
    ),
    (
        "for_project", str, "",
        typer.Option(
            "--project", envvar="COLONNADE_PROJECT", help="Sent as X-Project-Id.",
            show_default=False, rich_help_panel=ENDPOINT,
        ),
    ),
    (
        "in_state", Path | None, None,
        typer.Option(
            "--state", help="Use the system with this state folder.", rich_help_panel=ENDPOINT
        ),
    ),
)  # fmt: skip


def parameter(name: str, kind: Any, default: Any, option: Any) -> Parameter:
    """A word of a command, as typer reads it from a signature. `...`: it must be said."""
    given = Parameter.empty if default is ... else default
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=given, annotation=Annotated[kind, option]
    )


COMMON: Final = tuple(parameter(*row) for row in _COMMON)


def command(act: Act, parameters: Sequence[Parameter] | None = None, help: str = "") -> Any:
    """A typer function that stands at a session and acts. Without `parameters` they are those of
    `act` after its first."""
    if parameters is None:
        own = list(inspect.signature(act, eval_str=True).parameters.values())[1:]
        parameters = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own]

    def run(**words: Any) -> None:
        as_json = words.pop("as_json")
        where = Where.read({name: words.pop(name) for name in WHERE})
        import asyncio

        asyncio.run(_stand(where, as_json, lambda session: act(session, **words)))

    every = (*parameters, *COMMON)
    run.__signature__ = Signature(every)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in every}
    run.__doc__ = help or act.__doc__
    run.__name__ = act.__name__.strip("_")
    return run


async def _stand(where: Where, as_json: bool, act: Callable[[Session], Awaitable[None]]) -> None:
    from colonnade.cli.nouns.index import NOUNS

    async with where.rest() as rest:
        await act(Session(rest, Names(rest, NOUNS), Printer(as_json=as_json)))


def once(words: Iterable[str]) -> list[str]:
    """Words that were repeated, or joined by commas, one by one."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]

# SPDX-License-Identifier: Apache-2.0
"""Names for the shell to offer, from the endpoint that the rest of the line speaks to.

Whatever goes wrong, there is simply nothing to offer: a shell has no place for an error.
"""

from collections.abc import Callable
from typing import Any

import typer

from colonnade.domain.errors import ColonnadeError

OFFERS_MAX = 200


def names_of(word: str) -> Callable[[typer.Context, str], list[str]]:
    """Completes names of this noun; where it lives below another, below what was typed for it."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        import asyncio

        try:
            return asyncio.run(_offer(word, dict(ctx.params), incomplete))
        except (ColonnadeError, OSError, TimeoutError, KeyError, TypeError, AttributeError):
            return []

    return offer


async def _offer(word: str, words: dict[str, Any], incomplete: str) -> list[str]:
    import asyncio

    from colonnade.cli.nouns.index import NOUNS
    from colonnade.cli.objects.names import Names
    from colonnade.cli.objects.session import COMPLETION_S_MAX, Where

    where = Where.read(words)
    noun = NOUNS[word]
    # Loading the client is not the endpoint's delay: on a busy machine it takes longer than that.
    client = where.rest(COMPLETION_S_MAX)
    async with asyncio.timeout(COMPLETION_S_MAX):
        async with client as rest:
            names = Names(rest, NOUNS)
            parent = await _parent(names, noun.parent, words) if noun.parent else ""
            answer = await rest.get(noun.place(parent), {"limit": str(OFFERS_MAX)})
    found = answer.get(noun.many) or []
    offers = {str(one.get("name") or one.get("id") or "") for one in found}
    return sorted(one for one in offers if one.startswith(incomplete))


async def _parent(names: Any, word: str, words: dict[str, Any]) -> str:
    return str(await names.id(word, words["parent"]))

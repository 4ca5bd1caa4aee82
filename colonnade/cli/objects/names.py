# SPDX-License-Identifier: Apache-2.0
"""Names for ids: what a person typed becomes the id of exactly one object, or an error.

An id is taken as it is. A name that several objects have is refused with their ids. Members,
which seldom have names, may be called by ADDRESS:PORT.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from colonnade.cli.nouns.description import Noun
from colonnade.domain.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:  # help and completion of words need no HTTP client
    from colonnade.cli.rest import Query, Rest

_ID: Final = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_ENDPOINT: Final = re.compile(r"\[?([0-9A-Fa-f.:]+?)\]?:(\d+)")
NEAR_MAX: Final = 200  # names looked through for a likeness
PAGES_MAX: Final = 10_000  # an endpoint whose pages never end is broken


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


class Names:
    def __init__(self, rest: "Rest", nouns: Mapping[str, Noun]) -> None:
        self._rest = rest
        self._nouns = nouns

    def noun(self, word: str) -> Noun:
        return self._nouns[word]

    async def id(self, word: str, text: str, parent: str = "") -> str:
        """What stands in a path for the object called `text`, below `parent` where it has one."""
        noun = self.noun(word)
        if is_id(text) or noun.key == "name" or not noun.named:
            return quote(text, safe="")
        if not text:
            raise Invalid(f"the name of the {noun.noun} is empty")
        return str((await self._exactly_one(noun, text, parent))["id"])

    async def secret_ref(self, text: str) -> str:
        """What a listener or pool calls a secret by: a URL or an id as it is, else by name."""
        if is_id(text) or ":" in text or "/" in text:
            return text
        found = await self._exactly_one(self.noun("secret"), text, "")
        return str(found.get("secret_ref") or found["id"])

    async def every(
        self, noun: Noun, parent: str = "", query: "Query | None" = None
    ) -> list[dict[str, Any]]:
        """All objects of a list, page by page; filters are said again for each page."""
        found: list[dict[str, Any]] = []
        words = dict(query or {})
        for _ in range(PAGES_MAX):
            answer = await self._rest.get(noun.place(parent), words)
            page = answer.get(noun.many) or []
            found += page
            following = _next(answer.get(noun.links_word) or ())
            if not page or not following or following.items() <= words.items():
                return found
            words |= following
        return found

    async def _exactly_one(self, noun: Noun, text: str, parent: str) -> dict[str, Any]:
        try:
            found = await self._called(noun, text, parent)
        except NotFound as error:
            if parent:
                raise
            raise NotFound(
                f"this endpoint has no list of {_plural(noun)}: give an id, not '{text}'"
            ) from error
        if not found and noun.within and "/" in text:
            found = await self._called_within(noun, text)
        if not found:
            near = await self._near(noun, text, parent)
            raise NotFound(f"there is no {noun.noun} named '{text}'{near}")
        if len(found) > 1:
            ids = ", ".join(str(one["id"]) for one in found)
            hint = f"{noun.within[0].upper()}/{text} or " if noun.within else ""
            raise Conflict(
                f"'{text}' is the name of {len(found)} {_plural(noun)}: say {hint}an id ({ids})"
            )
        return found[0]

    async def _called_within(self, noun: Noun, text: str) -> list[dict[str, Any]]:
        """By the name of what it is part of, and its own: LB/POOL."""
        assert noun.within is not None, "asked for nouns that are part of another"
        word, attribute = noun.within
        above, _, name = text.rpartition("/")
        query = {"name": name, attribute: await self.id(word, above)}
        found = await self.every(noun, query=query)
        return [one for one in found if one.get("name") == name]

    async def _near(self, noun: Noun, text: str, parent: str) -> str:
        """Names a person may have meant."""
        answer = await self._rest.get(noun.place(parent), {"limit": str(NEAR_MAX)})
        names = {str(one["name"]) for one in answer.get(noun.many) or () if one.get("name")}
        begin = sorted(one for one in names if one.startswith(text))
        near = begin[:3] or get_close_matches(text, names)
        return f" (did you mean {' or '.join(near)}?)" if near else ""

    async def _called(self, noun: Noun, text: str, parent: str) -> list[dict[str, Any]]:
        if noun.word == "member" and (place := _ENDPOINT.fullmatch(text)):
            query = {"address": place[1], "protocol_port": place[2]}
            return await self.every(noun, parent, query)
        found = await self.every(noun, parent, {"name": text})
        # An endpoint may know no such filter, and then answers with everything.
        return [one for one in found if one.get("name") == text]


def _next(links: Any) -> dict[str, str]:
    for link in links:
        if link.get("rel") == "next":
            words = parse_qs(urlsplit(link["href"]).query)
            return {n: words[n][-1] for n in ("limit", "marker", "since") if n in words}
    return {}


def _plural(noun: Noun) -> str:
    return f"{noun.noun[:-1]}ies" if noun.noun.endswith("y") else f"{noun.noun}s"

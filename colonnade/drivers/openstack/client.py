# SPDX-License-Identifier: Apache-2.0
"""Calls to one service of a cloud, by its paths: where it is the catalog says.

Invariant: a list is read to its end, whatever a page holds, or not at all. With a user's token,
what is looked up is what that user may see; what is written is written as this service.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from yarl import URL

from colonnade.domain.errors import Unavailable
from colonnade.drivers.openstack.session import Answer, Session

PAGE: Final = 500
PAGES_MAX: Final = 1000
T = TypeVar("T")
_VERSIONED: Final = re.compile(r"/v\d")


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """One of a cloud's services: its type in the catalog, and which of its addresses there is
    asked. `version`: where the catalog names none, such as "/v2.0". `checked`: raises what a
    refusal of this service means. `headers`: of each call."""

    kind: str
    version: str
    checked: Callable[[Answer], Answer]
    interface: str = "public"
    headers: Mapping[str, str] = {}


class Client:
    """The session is its maker's to close. `token`: a user's, with whose eyes look-ups are made."""

    def __init__(self, session: Session, api: Api, *, token: str = "") -> None:
        self._session = session
        self._api = api
        self._token = token

    def seen_by(self, token: str) -> "Client":
        """The same service for whoever has this token; "" for this service itself."""
        return Client(self._session, self._api, token=token)

    async def ask(self, method: str, path: str, *, body: Any = None) -> Answer:
        """Raises Unavailable, and Broken for a cloud without this service."""
        root = await self._session.endpoint(self._api.kind, interface=self._api.interface)
        if _VERSIONED.search(URL(root).path) is None:
            root += self._api.version
        url = f"{root}/{path}"
        if self._token and method == "GET":
            return await self._session.ask_as(self._token, method, url)
        return await self._session.ask(method, url, body=body, headers=self._api.headers)

    async def all(self, path: str, kind: type[T], **query: str) -> list[T]:
        """Every object of a list; its name follows from the path, "os-server-groups" or so."""
        name = path.removesuffix("/detail").removeprefix("os-").replace("-", "_")
        found: list[T] = []
        marker: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            said = urlencode({**query, "limit": str(PAGE), **marker})
            answer = self._api.checked(await self.ask("GET", f"{path}?{said}"))
            page = answer.within(name, list[kind])  # type: ignore[valid-type]
            found += page
            if not page or not {f"{name}_links", "next"} & answer.read(dict[str, Any]).keys():
                return found
            marker = {"marker": str(getattr(page[-1], "id", ""))}
        raise Unavailable(f"{self._api.kind} has more than {PAGES_MAX * PAGE} {name}")

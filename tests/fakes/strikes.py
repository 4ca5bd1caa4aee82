# SPDX-License-Identifier: Apache-2.0
"""Counts the calls that come to a cloud's services, and strikes one of them.

A call may be refused before anything was done, or do its work and lose its answer. Writes may also
meet what others do at the same moment.
"""

from enum import Enum
from typing import Any

from aiohttp import web


class Strike(Enum):
    REFUSED = "it answers 503, and did nothing"
    LOST = "it did its work, and answers 504"
    BUSY = "a write is in the way of another, and answers 409"


class Strikes:
    """`names`: of the calls since `plan`. `struck`: how many were."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.struck = 0
        self._at, self._how = 0, Strike.REFUSED

    def plan(self, at: int, how: Strike) -> None:
        """The call of that number, from 1; 0: none."""
        self.names, self.struck = [], 0
        self._at, self._how = at, how

    @web.middleware
    async def middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.names.append(f"{request.method} {request.path}")
        if len(self.names) != self._at:
            return await self._answered(request, handler)
        if self._how is Strike.BUSY and request.method == "GET":
            return await self._answered(request, handler)
        self.struck += 1
        if self._how is Strike.REFUSED:
            return web.json_response({}, status=503)
        if self._how is Strike.BUSY:
            return web.json_response({}, status=409)
        await self._answered(request, handler)
        return web.json_response({}, status=504)

    async def _answered(self, request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)
        return answer

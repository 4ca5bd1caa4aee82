# SPDX-License-Identifier: Apache-2.0
"""Mode `token`: X-Auth-Token (or a bearer token) is a secret of our own, which the store knows by
its digest alone.

What was found is remembered for a few seconds, so that a busy caller costs no query, a revoked
token is dead soon after, and a wrong one costs a query but seldom. Strangers can neither push
callers out of memory nor take all connections of the database. A secret is never logged.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from colonnade.api.identity.caller import Caller
from colonnade.api.identity.memory import Found, Memory
from colonnade.domain.errors import NotAuthenticated
from colonnade.runtime.clock import Clock, SystemClock
from colonnade.store.postgres.database import Database
from colonnade.store.requests import tokens

REMEMBERED_S: Final = 5.0
QUESTIONS_MAX: Final = 2  # at once, of the connections that all callers share
HEADER: Final = b"x-auth-token"
_SECRET: Final = re.compile(rb"col_[A-Za-z0-9_-]{43}")
REFUSAL: Final = "The request you have made requires authentication."


def new_secret() -> str:
    """256 random bits, in a form that scanners for leaked secrets recognize."""
    return f"col_{secrets.token_urlsafe(32)}"


def digest_of(secret: str | bytes) -> bytes:
    return sha256(secret.encode() if isinstance(secret, str) else secret).digest()


def secret_of(headers: Mapping[bytes, bytes]) -> bytes:
    """X-Auth-Token is the contract's, and is believed where both are said; what can send no header
    of its own (Prometheus) says Bearer (RFC 6750)."""
    given = headers.get(HEADER, b"").strip()
    if given:
        return given
    scheme, _, token = headers.get(b"authorization", b"").strip().partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


class Tokens:
    def __init__(
        self,
        database: Database,
        *,
        remembered_s: float = REMEMBERED_S,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._remembered_s = remembered_s
        self._clock = clock or SystemClock()
        self._memory = Memory(self._clock)
        self._questions = asyncio.Semaphore(QUESTIONS_MAX)

    async def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        secret = secret_of(headers)
        if _SECRET.fullmatch(secret) is None:
            raise NotAuthenticated(REFUSAL)
        digest = digest_of(secret)
        found = self._memory.fresh(digest)
        if found is None:
            async with self._questions:
                # Another request may have looked this token up while we waited.
                found = self._memory.fresh(digest) or await self._ask(digest)
        if found.caller is None:
            raise NotAuthenticated(REFUSAL)
        return found.caller

    async def close(self) -> None:
        """The database is its owner's to close."""

    async def _ask(self, digest: bytes) -> Found:
        async with self._database.read() as connection:
            token = await tokens.good(connection, digest)
        now = self._clock.monotonic()
        if token is None:
            return self._memory.keep(digest, Found(None, now + self._remembered_s))
        left_s = self._remembered_s if token.left_s is None else token.left_s
        caller = Caller(
            project=token.project_id, roles=frozenset(token.roles), user=f"token:{token.id}"
        )
        return self._memory.keep(digest, Found(caller, now + min(self._remembered_s, left_s)))

# SPDX-License-Identifier: Apache-2.0
"""Mode `keystone`: X-Auth-Token is Keystone's, and Keystone is asked whose it is.

What it said is remembered for a while by the token's digest, so that most requests cost no
question, and a revoked token is dead when that time is over. Where Keystone cannot be asked, who
was known lives on for a stated time; nobody else is let in, and waiting may help. A token that
stands for no project and not for the whole system gives no role. No token is kept or logged.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog

from colonnade.api.identity.caller import Caller
from colonnade.api.identity.memory import Found, Memory
from colonnade.api.identity.tokens import REFUSAL, digest_of, secret_of
from colonnade.domain.errors import NotAuthenticated, Unavailable
from colonnade.domain.ids import ProjectId
from colonnade.domain.limits import PROJECT_ID_MAX, TEXT_MAX
from colonnade.drivers.openstack.session import Session, seconds_of
from colonnade.runtime.clock import Clock, SystemClock
from colonnade.runtime.config import Keystone

SERVICE_HEADER: Final = b"x-service-token"
QUESTIONS_MAX: Final = 8  # at once, of strangers; and as many of those that were known
WAIT_S_MAX: Final = 3.0  # for one of these places
BAD_S: Final = 5.0  # a token that is none is remembered for
AGAIN_S: Final = 1.0  # between two attempts in the background, while Keystone is away
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,4096}")
_AWAY: Final = "The identity service cannot be asked now."
_NONE: Final = frozenset({400, 404})  # how Keystone says that a token is none

log = structlog.get_logger()


class _Named(msgspec.Struct, frozen=True):
    id: str
    name: str = ""


class _Token(msgspec.Struct, frozen=True):
    expires_at: str
    user: _Named
    roles: list[_Named] = []
    project: _Named | None = None
    system: dict[str, Any] | None = None


class _Validated(msgspec.Struct, frozen=True):
    token: _Token


class KeystoneTokens:
    def __init__(self, settings: Keystone, session: Session, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._session = session
        self._clock = clock or SystemClock()
        self._memory = Memory(self._clock)
        self._questions: dict[bytes, asyncio.Task[Found]] = {}
        self._strangers = asyncio.Semaphore(QUESTIONS_MAX)
        self._known = asyncio.Semaphore(QUESTIONS_MAX)
        self._again_at: float | None = None  # None: Keystone answered when it was asked last
        self._url = f"{session.auth_url}/auth/tokens?nocatalog=1"
        self._service_roles = {role.lower() for role in settings.service_roles}
        self._challenge = f'Keystone uri="{settings.www_authenticate_uri or session.auth_url}"'

    async def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        token = secret_of(headers)
        service = headers.get(SERVICE_HEADER, b"").strip()
        if service:
            # A service goes on with what a user began, even when the user's token has expired.
            behind = await self._caller(service)
            if behind.roles.isdisjoint(self._service_roles):
                raise self._refused()
        caller = await self._caller(token, expired=bool(service))
        return msgspec.structs.replace(caller, token=token.decode())

    async def close(self) -> None:
        for question in self._questions.values():
            question.cancel()
        await self._session.close()

    async def _caller(self, token: bytes, *, expired: bool = False) -> Caller:
        """`expired`: one that has expired not long ago will do."""
        if _TOKEN.fullmatch(token) is None:
            raise self._refused()
        digest = digest_of(token + b" expired" if expired else token)
        found = self._memory.fresh(digest) or await self._found(digest, token, expired)
        if found.caller is None:
            raise self._refused()
        return found.caller

    async def _found(self, digest: bytes, token: bytes, expired: bool) -> Found:
        known = None if self._again_at is None else self._memory.at_worst(digest)
        if known is None:
            # Others may wait for the same answer: it goes on when this request is given up.
            return await asyncio.shield(self._question(digest, token, expired))
        if self._again_at is not None and self._again_at <= self._clock.monotonic():
            self._question(digest, token, expired)
        return known

    def _question(self, digest: bytes, token: bytes, expired: bool) -> asyncio.Task[Found]:
        """One for each token, however many ask for it."""
        asked = self._questions.get(digest)
        if asked is None:
            asked = asyncio.create_task(self._answered(digest, token, expired))
            self._questions[digest] = asked

            def forget(done: asyncio.Task[Found]) -> None:
                del self._questions[digest]
                if not done.cancelled():
                    done.exception()  # who waits for it is told; nobody may

            asked.add_done_callback(forget)
        return asked

    async def _answered(self, digest: bytes, token: bytes, expired: bool) -> Found:
        lane = self._known if self._memory.knows(digest) else self._strangers
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await lane.acquire()
        except TimeoutError as error:
            return self._at_worst(digest, error)
        try:
            about = await self._asked(token, expired)
        except Unavailable as error:
            if self._again_at is None:
                log.warning("keystone cannot be asked", reason=str(error))
            self._again_at = self._clock.monotonic() + AGAIN_S
            return self._at_worst(digest, error)
        finally:
            lane.release()
        if self._again_at is not None:
            log.info("keystone answers again")
        self._again_at = None
        return self._memory.keep(digest, about)

    def _at_worst(self, digest: bytes, error: Exception) -> Found:
        known = self._memory.at_worst(digest)
        if known is None:
            raise Unavailable(_AWAY) from error
        return known

    async def _asked(self, token: bytes, expired: bool) -> Found:
        """Raises Unavailable for everything that is neither yes nor no."""
        now = self._clock.monotonic()
        url = f"{self._url}&allow_expired=1" if expired else self._url
        answer = await self._session.ask("GET", url, headers={"X-Subject-Token": token.decode()})
        if answer.status in _NONE:
            return Found(None, now + BAD_S)
        if answer.status != 200:
            raise Unavailable(
                f"Keystone answered {answer.status}: may this service validate tokens?"
            )
        about = answer.read(_Validated).token
        # By Keystone's word it has not expired, whatever our own clock says.
        left_s = max(1.0, seconds_of(about.expires_at) - self._clock.now())
        known_s = min(left_s, self._settings.remembered_s)
        at_worst_s = min(left_s, self._settings.lived_on_s)
        return Found(_caller_of(about), now + known_s, now + at_worst_s)

    def _refused(self) -> NotAuthenticated:
        return NotAuthenticated(REFUSAL, challenge=self._challenge)


def _caller_of(token: _Token) -> Caller:
    """Roles in a domain, or in nothing, are roles in no project: none of ours."""
    project = token.project.id if token.project is not None else ""
    if len(project) > PROJECT_ID_MAX:
        raise Unavailable(f"Keystone names a project with more than {PROJECT_ID_MAX} characters")
    counts = bool(project) or bool(token.system and token.system.get("all") is True)
    roles = frozenset(role.name.lower() for role in token.roles) if counts else frozenset()
    owner = ProjectId(project) if project else None
    return Caller(project=owner, roles=roles, user=token.user.id[:TEXT_MAX])

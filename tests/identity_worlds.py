# SPDX-License-Identifier: Apache-2.0
"""A mode of identity with the world that it asks: what `test_identity_modes.py` is asked of."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from colonnade.api.identity.caller import Identity
from colonnade.api.identity.keystone import KeystoneTokens
from colonnade.api.identity.tokens import Tokens, digest_of, new_secret
from colonnade.domain.ids import ProjectId, new_id
from colonnade.drivers.openstack.credentials import of_service
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.config import Keystone
from colonnade.store.postgres.database import Database
from colonnade.store.requests import tokens
from colonnade.store.requests.tokens import Token, TokenId
from tests.fakes.clock import Time
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone

NEVER_S = 3600.0


class World(Protocol):
    clock: Time
    identity: Identity
    remembered_s: float

    async def issue(self, *roles: str, seconds: float = NEVER_S) -> str:
        """A token of the project `self.project`."""

    async def revoke(self, token: str) -> None: ...

    def questions(self) -> int:
        """How often the world was asked whose a token is."""

    async def fall_silent(self) -> None:
        """From now on it cannot be asked."""

    @property
    def project(self) -> str: ...


class _Counted(Database):
    count = 0

    def read(self, *, answer_s: float = 0) -> Any:
        self.count += 1
        return super().read()


class OwnTokens:
    """Mode `token`."""

    project = "mine"
    remembered_s = 5.0

    def __init__(self, database: _Counted, clock: Time) -> None:
        self.clock = clock
        self._database = database
        self.identity: Identity = Tokens(database, remembered_s=self.remembered_s, clock=clock)
        self._ids: dict[str, TokenId] = {}
        self._own = 0

    async def issue(self, *roles: str, seconds: float = NEVER_S) -> str:
        secret, made = new_secret(), TokenId(new_id())
        token = Token(id=made, project_id=ProjectId(self.project), roles=roles)
        self._ids[secret] = made
        self._own += 1
        async with self._database.read() as connection:
            await tokens.add(connection, token, digest_of(secret), days=seconds / 86_400)
        return secret

    async def revoke(self, token: str) -> None:
        self._own += 1
        async with self._database.read() as connection:
            await tokens.revoke(connection, self._ids[token])

    def questions(self) -> int:
        return self._database.count - self._own

    async def fall_silent(self) -> None:
        await self._database.close()


class WireTokens:
    """Mode `keystone`, asking the fake over HTTP."""

    project = "mine"

    def __init__(self, server: FakeKeystone, identity: KeystoneTokens, settings: Keystone) -> None:
        self.server = server
        self.clock: Time = server.clock  # type: ignore[assignment]
        self.identity: Identity = identity
        self.remembered_s = settings.remembered_s

    async def issue(self, *roles: str, seconds: float = NEVER_S) -> str:
        return self.server.issue(*roles, seconds=seconds, project=self.project).secret

    async def revoke(self, token: str) -> None:
        self.server.tokens[token].revoked = True

    def questions(self) -> int:
        return self.server.asked

    async def fall_silent(self) -> None:
        self.server.fault = 503


@contextlib.asynccontextmanager
async def own_tokens(database_url: str) -> AsyncIterator[OwnTokens]:
    database = await _Counted.connect(database_url)
    try:
        yield OwnTokens(database, Time(1000.0))
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def wire_tokens(folder: Path, **more: Any) -> AsyncIterator[WireTokens]:
    """`more`: of the table [keystone]."""
    async with FakeKeystone(Time(1_800_000_000.0)).serving() as server:
        settings = settings_of(folder, f"{server.url}/v3", USER, PASSWORD, **more)
        async with asking(settings, server.clock) as identity:  # type: ignore[arg-type]
            yield WireTokens(server, identity, settings)


def settings_of(folder: Path, auth_url: str, user: str, password: str, **more: Any) -> Keystone:
    secret = folder / "keystone-password"
    secret.touch(mode=0o600)
    secret.write_text(f"{password}\n")
    return Keystone(auth_url=auth_url, username=user, secret_file=secret, **more)


@contextlib.asynccontextmanager
async def asking(settings: Keystone, clock: Time) -> AsyncIterator[KeystoneTokens]:
    session = Session(of_service(settings), timeout_s=settings.timeout_s, clock=clock)
    identity = KeystoneTokens(settings, session, clock=clock)
    try:
        yield identity
    finally:
        await identity.close()

# SPDX-License-Identifier: Apache-2.0
"""The first token of an installation, in its database; that is started for it where none runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from colonnade.cli.local import folders
from colonnade.cli.local.starting import only_one, started
from colonnade.cli.local.token import Role, new_token
from colonnade.domain.ids import ProjectId
from colonnade.runtime.config import Config
from colonnade.store.postgres.database import Database
from colonnade.store.postgres.embedded import EmbeddedPostgres
from colonnade.store.postgres.migrations import migrate
from colonnade.store.postgres.places import login
from colonnade.store.requests import tokens

PROJECT: Final = "admin"


async def ensure_admin_token(config: Config, *, has_database: bool) -> str:
    """The secret of a fresh one; "" where a token of role admin is good. Raises Unavailable,
    Conflict, Broken."""
    async with _running(config, has_database=has_database):
        url = login(config)
        migrate(url())
        database = await Database.connect(url)
        try:
            async with database.transaction() as connection:
                known = await tokens.find(connection)
                if any(Role.ADMIN in one.roles and not one.is_expired for one in known):
                    return ""
                new, secret, digest = new_token(ProjectId(PROJECT), (Role.ADMIN,), "init")
                await tokens.add(connection, new, digest)
                return secret
        finally:
            await database.close()


@asynccontextmanager
async def _running(config: Config, *, has_database: bool) -> AsyncIterator[None]:
    server = EmbeddedPostgres(config.state_dir, config.run_dir)
    if not has_database or server.is_running():
        yield
        return
    with only_one(config.state_dir):
        folders.run_dir(config.state_dir)
        try:
            async with started(server):
                yield
        finally:
            with suppress(OSError):
                folders.remove_run_dir(config.state_dir)

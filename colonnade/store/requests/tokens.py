# SPDX-License-Identifier: Apache-2.0
"""Tokens of our own: what each is good for, found by the digest of its secret.

Neither the secret nor anything that it could be made from is stored, and neither is passed to this
module. A revoked token is deleted. An expired token is still listed, but `good` does not find it.
Which roles there are is not known here.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NewType

import msgspec

from colonnade.domain.ids import ProjectId, is_id
from colonnade.runtime.config import Kept
from colonnade.store.postgres.database import BATCH_ROWS, Connection

TokenId = NewType("TokenId", str)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    id: TokenId
    project_id: ProjectId
    roles: tuple[str, ...]
    name: str = ""
    created_at: datetime | None = None  # set as it is stored
    expires_at: datetime | None = None
    left_s: float | None = None  # until it expires, as the database's clock has it

    @property
    def is_expired(self) -> bool:
        return self.left_s is not None and self.left_s <= 0


_COLUMNS: Final = """id, project_id, roles, name, created_at, expires_at,
    extract(epoch FROM expires_at - now())::float8"""


async def add(
    connection: Connection, token: Token, digest: bytes, *, days: float | None = None
) -> Token:
    """Store a token, good for so many days from now; None: until it is revoked."""
    cursor = await connection.execute(
        f"""INSERT INTO tokens (id, digest, project_id, roles, name, expires_at)
        VALUES (%s, %s, %s, %s, %s, now() + make_interval(secs => %s)) RETURNING {_COLUMNS}""",  # noqa: S608
        [
            token.id,
            digest,
            token.project_id,
            list(token.roles),
            token.name,
            days * 86400 if days is not None else None,
        ],
    )
    (row,) = await cursor.fetchall()
    return _token(row)


async def good(connection: Connection, digest: bytes) -> Token | None:
    """The token with that secret, None when there is none or it has expired."""
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM tokens"  # noqa: S608
        " WHERE digest = %s AND (expires_at IS NULL OR expires_at > now())",
        [digest],
    )
    row = await cursor.fetchone()
    return _token(row) if row is not None else None


async def find(connection: Connection) -> Sequence[Token]:
    """All of them, the oldest first, expired ones too."""
    cursor = await connection.execute(f"SELECT {_COLUMNS} FROM tokens ORDER BY created_at, id")  # noqa: S608
    return [_token(row) for row in await cursor.fetchall()]


async def revoke(connection: Connection, token_id: str) -> bool:
    """False: there is no such token."""
    if not is_id(token_id):
        return False
    cursor = await connection.execute("DELETE FROM tokens WHERE id = %s", [token_id])
    return cursor.rowcount == 1


def _token(row: Sequence[object]) -> Token:
    names = ("id", "project_id", "roles", "name", "created_at", "expires_at", "left_s")
    return msgspec.convert(dict(zip(names, row, strict=True)), Token)


async def forget_old(connection: Connection, kept: Kept) -> int:
    """One batch of those that expired a while ago. How many went."""
    cursor = await connection.execute(
        """DELETE FROM tokens WHERE id IN (SELECT id FROM tokens
            WHERE expires_at < now() - make_interval(secs => %s * 86400)
            ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)""",
        [kept.tokens_days, BATCH_ROWS],
    )
    return cursor.rowcount

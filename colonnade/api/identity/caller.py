# SPDX-License-Identifier: Apache-2.0
"""The caller of a request, and the contract of a mode of identity, which finds it out.

A caller is what Keystone would say of a token: a project, roles in it, a user. Whether that is
enough for what is asked is for `policy.py` to say; how it was found out is the mode's own affair.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from colonnade.domain.ids import ProjectId

ADMIN = "admin"
MEMBER = "member"
READER = "reader"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """`project` None: a caller of no project. `user` is for the record only."""

    project: ProjectId | None = None
    roles: frozenset[str] = frozenset()
    user: str = ""
    token: str = ""  # with which other services may be asked in the caller's name; never kept

    def __repr__(self) -> str:
        return f"Caller(project={self.project!r}, user={self.user!r})"


class Identity(Protocol):
    """A mode of identity: what Keystone's tokens, tokens of our own and plain trust share."""

    async def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Who sent these headers, whose names are in lower case.

        Asked before anything else of every request but those for public pages, so it must cost
        next to nothing most of the time. Raises NotAuthenticated when the headers prove nothing,
        Unavailable when it cannot be found out now, Invalid for headers that make no sense."""

    async def close(self) -> None:
        """Let go of what is held open. Nobody is asked for after that."""

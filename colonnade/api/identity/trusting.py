# SPDX-License-Identifier: Apache-2.0
"""Mode `none`: whoever reaches the API is who the headers say, so only loopback may reach it.

X-Project-Id, X-Roles (separated by commas) and X-User-Id are those that Keystone's middleware
sets. Without roles a caller with a project is a member of it, and one without is the operator.
"""

from collections.abc import Mapping

from colonnade.api.identity.caller import ADMIN, MEMBER, Caller
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import ProjectId
from colonnade.domain.limits import PROJECT_ID_MAX, TEXT_MAX


class Trusting:
    async def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        project = _word(headers, b"x-project-id")
        if len(project) > PROJECT_ID_MAX:
            raise Invalid(f"X-Project-Id is at most {PROJECT_ID_MAX} long", field="project_id")
        named = _word(headers, b"x-roles")
        roles = frozenset(role.strip().lower() for role in named.split(",") if role.strip())
        return Caller(
            project=ProjectId(project) if project else None,
            roles=roles or frozenset({MEMBER if project else ADMIN}),
            user=_word(headers, b"x-user-id")[:TEXT_MAX],
        )

    async def close(self) -> None:
        """Nothing is held open."""


def _word(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1").strip()

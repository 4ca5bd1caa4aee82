# SPDX-License-Identifier: Apache-2.0
"""Server groups that keep amphorae of one flavor on different hosts.

Amphorae are born as spares, before they serve anybody: so those of a flavor are kept apart from
each other, and who needs two on different hosts finds them. A group is known by its name.
"""

from typing import Any, Final

import msgspec

from colonnade.domain.errors import ColonnadeError
from colonnade.drivers.openstack.client import Client
from colonnade.drivers.openstack.servers import checked

_POLICIES: Final = {"soft": "soft-anti-affinity", "strict": "anti-affinity"}


class _Group(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    policy: str | None = None


class Groups:
    """`wish`: a key of the policies above, or "none"."""

    def __init__(self, nova: Client, wish: str) -> None:
        self._nova = nova
        self._policy = _POLICIES.get(wish, "")

    async def hints(self, flavor: str) -> dict[str, Any] | None:
        """For the scheduler, of an amphora of this flavor."""
        if not self._policy:
            return None
        name = f"colonnade-{flavor}-{self._policy}"
        for _ in range(2):
            found = await self._nova.all("os-server-groups", _Group)
            ids = sorted(one.id for one in found if one.name == name)
            if ids:
                return {"group": ids[0]}
            about = {"name": name, "policy": self._policy}
            answer = await self._nova.ask("POST", "os-server-groups", body={"server_group": about})
            checked(answer)
        return None

    def is_full(self, error: ColonnadeError) -> bool:
        """Whether it is the group that takes no more, and being apart is only a wish."""
        return self._policy == _POLICIES["soft"] and "group" in error.public

# SPDX-License-Identifier: Apache-2.0
"""Amphorae as Nova's servers, and Nova's refusals as our errors.

Nova chooses the ids of servers. One of ours is known by its name, which holds the amphora's id, and
by a tag; a server without our tag is never looked at, for other services' amphorae may live in the
same project under names like it. There may be several of one amphora for a moment, where an answer
was lost: their port lets one of them run.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from colonnade.domain.errors import (
    Broken,
    ColonnadeError,
    Forbidden,
    Invalid,
    NotFound,
    OutOfCapacity,
    Unavailable,
)
from colonnade.domain.ids import AmphoraId, read_id
from colonnade.drivers.openstack.client import Api, Client
from colonnade.drivers.openstack.session import Answer, Session

TAG: Final = "colonnade"
_NAME: Final = "amphora-"
# Servers in a cell that does not answer are listed, without a name (2.69); tags are given at birth
# (2.52), groups are soft by their policy (2.64).
_VERSION: Final = {"OpenStack-API-Version": "compute 2.72"}
_DEAD: Final = frozenset(
    {"ERROR", "SHUTOFF", "PAUSED", "SUSPENDED", "RESCUE", "SHELVED", "SHELVED_OFFLOADED",
     "DELETED", "SOFT_DELETED"}
)  # fmt: skip
_POWER_ON: Final = 1
_POWER_LOST: Final = frozenset({4, 6})  # shut down, crashed: Nova's state follows a minute later


class Fault(msgspec.Struct, frozen=True):
    message: str = ""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str = ""  # "": it is in a cell that does not answer
    status: str = ""
    created: str = ""
    fault: Fault | None = None
    host: str | None = msgspec.field(name="OS-EXT-SRV-ATTR:host", default=None)
    host_digest: str = msgspec.field(name="hostId", default="")  # for those who may see no more
    power: int = msgspec.field(name="OS-EXT-STS:power_state", default=0)

    @property
    def amphora_id(self) -> AmphoraId | None:
        """None: it is named like no amphora of ours."""
        text = self.name.removeprefix(_NAME)
        try:
            return AmphoraId(read_id(text)) if self.name.startswith(_NAME) else None
        except ValueError:
            return None

    @property
    def is_dead(self) -> bool:
        """An error alone says little: a server whose move failed goes on."""
        if self.status in _DEAD:
            return not (self.status == "ERROR" and self.power == _POWER_ON)
        return self.status == "ACTIVE" and self.power in _POWER_LOST

    @property
    def is_building(self) -> bool:
        return self.status == "BUILD"

    @property
    def why(self) -> str:
        """What Nova says of its failure, "" where it says nothing."""
        return self.fault.message if self.fault is not None else ""

    @property
    def place(self) -> str:
        return self.host or self.host_digest


class _Made(msgspec.Struct, frozen=True):
    id: str


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The compute service of a host. `updated_at`: when it was heard from, in UTC."""

    state: str = ""
    forced_down: bool = False
    updated_at: str | None = None


class Servers:
    """The session is its maker's to close."""

    def __init__(self, session: Session, *, interface: str = "public") -> None:
        self.nova = Client(
            session,
            Api(
                kind="compute",
                version="/v2.1",
                checked=checked,
                interface=interface,
                headers=_VERSION,
            ),
        )

    async def of(self, amphora_id: AmphoraId) -> list[Server]:
        """All of this amphora, the one that lives and was first before the others.

        Raises Unavailable where it cannot be known: none was found, and not all cells answer."""
        name = f"^{_NAME}{amphora_id}$"
        found = await self.nova.all("servers/detail", Server, name=name, tags=TAG)
        if not found:
            await self.check_cells()
        return sorted(found, key=lambda one: (one.is_dead, one.created, one.id))

    async def everything(self) -> list[Server]:
        """All of ours. Raises Unavailable while a cell does not answer."""
        await self.check_cells()
        found = await self.nova.all("servers/detail", Server, tags=TAG)
        return sorted(found, key=lambda one: (one.is_dead, one.created, one.id))

    async def check_cells(self) -> None:
        """Nova leaves out of a list with a filter what is in a cell that does not answer. Raises
        Unavailable while there is such a server."""
        if any(not one.name for one in await self.nova.all("servers", Server)):
            raise Unavailable("Nova cannot tell of all servers: one of its cells does not answer")

    async def one(self, server_id: str) -> Server | None:
        answer = await self.nova.ask("GET", f"servers/{server_id}")
        return None if answer.status == 404 else checked(answer).within("server", Server)

    async def create(self, amphora_id: AmphoraId, about: Mapping[str, Any], hints: Any) -> str:
        """Its id; it is only begun."""
        server = {"name": f"{_NAME}{amphora_id}", "tags": [TAG], **about}
        body = {"server": server} | ({"os:scheduler_hints": hints} if hints else {})
        return checked(await self.nova.ask("POST", "servers", body=body)).within("server", _Made).id

    async def delete(self, server_id: str) -> None:
        """Begin to. What cannot be deleted in its present state is deleted by force; raises
        Unavailable where that is refused too."""
        answer = await self.nova.ask("DELETE", f"servers/{server_id}")
        if answer.status == 409:
            await self.force_delete(server_id)
        elif answer.status != 404:
            checked(answer)

    async def force_delete(self, server_id: str) -> None:
        """Also of one that is deleted, and kept for a while as some clouds do."""
        body = {"forceDelete": None}
        answer = await self.nova.ask("POST", f"servers/{server_id}/action", body=body)
        if answer.status != 404:
            checked(answer)

    async def host(self, name: str) -> Host | None:
        """None: there is none of this name, or we may not see it."""
        path = f"os-services?binary=nova-compute&host={quote(name, safe='')}"
        answer = await self.nova.ask("GET", path)
        if answer.status in (400, 403):
            return None
        return next(iter(checked(answer).within("services", list[Host])), None)

    async def counted(self) -> str:
        """How many hosts Nova hears, in words. Raises Broken where there is none."""
        answer = checked(await self.nova.ask("GET", "os-services?binary=nova-compute"))
        hosts = answer.within("services", list[Host])
        up = [one for one in hosts if one.state == "up"]
        if not up:
            raise Broken(f"Nova hears none of its {len(hosts)} hosts")
        return f"{len(up)} of {len(hosts)} hosts are up"

    async def attach(self, server_id: str, port_id: str) -> None:
        """Raises NotFound, and Unavailable for a server that takes no interface just now."""
        body = {"interfaceAttachment": {"port_id": port_id}}
        checked(await self.nova.ask("POST", f"servers/{server_id}/os-interface", body=body))

    async def detach(self, server_id: str, port_id: str) -> bool:
        """Begin to. False: the server is gone, or does not let it go in its present state."""
        answer = await self.nova.ask("DELETE", f"servers/{server_id}/os-interface/{port_id}")
        if answer.status in (400, 404, 409):
            return False
        checked(answer)
        return True


def checked(answer: Answer) -> Answer:
    """Raises what Nova's refusal means here, in its own words. What it says is in the way now
    (409) may not be in the way later."""
    if answer.status < 300:
        return answer
    try:
        (said,) = answer.read(dict[str, Fault]).values()
    except (Unavailable, ValueError):
        said = Fault(f"Nova answered {answer.status}")
    if answer.status == 413 or (answer.status == 403 and "uota" in said.message):
        raise OutOfCapacity(said.message)
    kinds: dict[int, type[ColonnadeError]] = {400: Invalid, 403: Forbidden, 404: NotFound}
    raise kinds.get(answer.status, Unavailable)(said.message)

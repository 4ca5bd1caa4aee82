# SPDX-License-Identifier: Apache-2.0
"""Which image an amphora starts from, one by its id or the newest active one with the tag, and on
which flavor of Nova it runs."""

from typing import Any, Final
from urllib.parse import quote

import msgspec

from colonnade.domain.errors import Broken, Unavailable
from colonnade.drivers.openstack import servers
from colonnade.drivers.openstack.client import Api, Client
from colonnade.drivers.openstack.session import Answer, Session
from colonnade.runtime.config import Nova

_ACTIVE: Final = "active"


class _Named(msgspec.Struct, frozen=True):
    id: str
    name: str = ""


class _Image(msgspec.Struct, frozen=True):
    id: str
    status: str = ""
    created_at: str = ""


class Images:
    def __init__(self, session: Session, settings: Nova) -> None:
        self._glance = Client(
            session,
            Api(kind="image", version="/v2", checked=checked, interface=settings.interface),
        )
        self._settings = settings

    async def of(self, tag: str) -> str:
        """The id. `tag`: the flavor's own, "" where it names none. Raises Broken where there is no
        such image, for a person must upload one."""
        if not tag and self._settings.image:
            return await self._one(self._settings.image)
        tag = tag or self._settings.image_tag
        owner = {"owner": self._settings.image_owner} if self._settings.image_owner else {}
        found = await self._glance.all("images", _Image, tag=tag, status=_ACTIVE, **owner)
        if not found:
            raise Broken(f"Glance has no active image with the tag '{tag}'")
        return max(found, key=lambda one: (one.created_at, one.id)).id

    async def _one(self, image_id: str) -> str:
        answer = await self._glance.ask("GET", f"images/{image_id}")
        if answer.status == 404:
            raise Broken(f"Glance has no image {image_id}, which `image` of [nova] names")
        found = msgspec.convert(checked(answer).read(dict[str, Any]), _Image)
        if found.status != _ACTIVE:
            raise Unavailable(f"the image {image_id} is {found.status}, not {_ACTIVE}")
        return found.id


def checked(answer: Answer) -> Answer:
    if answer.status >= 300:
        raise Unavailable(f"Glance answered {answer.status}")
    return answer


async def flavor_of(nova: Client, wanted: str) -> str:
    """The id of a flavor that is named by its id or its name. Raises Broken."""
    if not wanted:
        raise Broken("no flavor of Nova is named: set `flavor` of [nova]")
    for one in await nova.all("flavors", _Named):
        if wanted in (one.id, one.name):
            return one.id
    answer = await nova.ask("GET", f"flavors/{quote(wanted, safe='')}")  # one that is not public
    if answer.status in (400, 404):
        raise Broken(f"Nova has no flavor '{wanted}'")
    return servers.checked(answer).within("flavor", _Named).id

# SPDX-License-Identifier: Apache-2.0
"""What amphorae start from: a flavor of Nova, and an image with a tag. Server groups the compute
driver makes by itself, when it needs one."""

from pathlib import Path
from typing import Any, Final

import msgspec

from colonnade.domain.errors import Broken
from colonnade.drivers.compute.nova.images import Images, flavor_of
from colonnade.drivers.openstack.acts import Acts
from colonnade.drivers.openstack.images import Publication, is_published, publish
from colonnade.drivers.openstack.servers import Servers, checked
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.config import Nova

MEMORY_MB: Final = 512
DISK_GB: Final = 1


class GuestWish(msgspec.Struct, frozen=True, kw_only=True):
    """`file`: of an image to publish; None: one with the tag must be there."""

    flavor: str
    tag: str
    file: Path | None = None


async def have_flavor(session: Session, wish: GuestWish, acts: Acts, *, interface: str) -> None:
    """Raises Forbidden, Unavailable."""
    nova = Servers(session, interface=interface).nova
    words = f"the flavor {wish.flavor}"
    try:
        await flavor_of(nova, wish.flavor)
    except Broken:
        # No user is to choose it, so it is not public; by its id it is found all the same.
        about: dict[str, Any] = {
            "name": wish.flavor, "id": wish.flavor, "ram": MEMORY_MB, "vcpus": 1, "disk": DISK_GB,
            "os-flavor-access:is_public": False,
        }  # fmt: skip

        async def made() -> None:
            checked(await nova.ask("POST", "flavors", body={"flavor": about}))

        await acts.create(f"{words}: 1 VCPU, {MEMORY_MB} MB, {DISK_GB} GB of disk", made)
    else:
        acts.there(words)


async def have_image(session: Session, wish: GuestWish, acts: Acts, *, interface: str) -> str:
    """What a person still has to do; "" where nothing. Raises Refused, Forbidden, Unavailable."""
    words = f"an image with the tag {wish.tag}"
    if wish.file is not None:
        publication = Publication(file=wish.file, name=wish.file.stem, tag=wish.tag)
        if await is_published(session, publication):
            acts.there(f"{words}, of {wish.file}")
        else:
            await acts.create(f"{words}, of {wish.file}", lambda: publish(session, publication))
        return ""
    try:
        found = await Images(session, Nova(image_tag=wish.tag, interface=interface)).of("")
    except Broken as error:
        return (
            f"{error.public}: `colonnade image build --output amphora.raw`, then this again with"
            f" `--image amphora.raw`"
        )
    acts.there(f"{words}: {found}")
    return ""

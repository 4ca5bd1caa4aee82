# SPDX-License-Identifier: Apache-2.0
"""Images of amphorae in a cloud's image service (Glance).

A compute driver takes an image by its tag. Invariant: an image has its tag only when all of it is
there and has the digest that was sent, and the same file is never there twice. Publishing may be
repeated, and goes on where it was interrupted.
"""

import hashlib
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from colonnade.domain.errors import Broken, Forbidden, Refused, Unavailable
from colonnade.drivers.openstack.session import Answer, Session

TYPE: Final = "image"
DIGEST: Final = "colonnade_sha256"  # the property that tells which file it is
UPLOAD_S_MAX: Final = 3600.0
MINE: Final = "queued"  # nothing of it was sent yet
GIB: Final = 1024**3
# As the image needs it, whatever a cloud's defaults are.
ABOUT: Final = {
    "disk_format": "raw",
    "container_format": "bare",
    "visibility": "private",
    "min_ram": 256,
    "architecture": "x86_64",
    "os_type": "linux",
    "os_distro": "debian",
    "hw_firmware_type": "bios",
    "hw_disk_bus": "virtio",
    "hw_vif_model": "virtio",
    "hw_rng_model": "virtio",
}


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """`tag`: what compute drivers find it by."""

    file: Path
    name: str
    tag: str


class _Image(msgspec.Struct, frozen=True):
    id: str
    status: str
    size: int | None = None
    tags: tuple[str, ...] = ()
    colonnade_sha256: str = ""
    os_hash_algo: str | None = None
    os_hash_value: str | None = None


async def publish(session: Session, wish: Publication) -> list[str]:
    """Its id, and what was done, in words. Raises Refused, Forbidden, Broken, Unavailable."""
    root = await _root(session)
    digest = _digest_of(wish.file, "sha256")
    done = []
    image = await _known(session, root, wish, digest)
    if image is None:
        image = await _created(session, root, wish, digest)
        done.append(f"created image {image.id}")
    if image.status == MINE:
        answer = await session.upload(f"{root}/{image.id}/file", wish.file, within_s=UPLOAD_S_MAX)
        _checked(answer, (204,))
        image = await _one(session, root, image.id)
        _check_content(image, wish.file)
        done.append(f"sent {image.size} bytes")
    if image.status != "active":
        raise Unavailable(f"image {image.id} is {image.status}: wait, or delete it and begin again")
    if wish.tag not in image.tags:
        url = f"{root}/{image.id}/tags/{quote(wish.tag, safe='')}"
        _checked(await session.ask("PUT", url), (204,))
        done.append(f"tagged it {wish.tag}")
    return [image.id, *(done or [f"there already is image {image.id} with tag {wish.tag}"])]


async def is_published(session: Session, wish: Publication) -> bool:
    """Whether publishing it would change nothing."""
    image = await _known(session, await _root(session), wish, _digest_of(wish.file, "sha256"))
    return image is not None and image.status == "active" and wish.tag in image.tags


async def _root(session: Session) -> str:
    return (await session.endpoint(TYPE)).removesuffix("/v2") + "/v2/images"


async def _known(session: Session, root: str, wish: Publication, digest: str) -> _Image | None:
    """The one that this file was sent to, or began to be. Raises Unavailable where another of the
    same is on its way."""
    query = urlencode({"name": wish.name, DIGEST: digest, "limit": 100})
    answer = _checked(await session.ask("GET", f"{root}?{query}"), (200,))
    found = [one for one in answer.within("images", list[_Image]) if one.colonnade_sha256 == digest]
    order = ("active", "saving", "importing", MINE)
    ranked = sorted(
        (one for one in found if one.status in order), key=lambda one: order.index(one.status)
    )
    return ranked[0] if ranked else None


async def _created(session: Session, root: str, wish: Publication, digest: str) -> _Image:
    least = -(-wish.file.stat().st_size // GIB)
    about = {**ABOUT, "name": wish.name, "min_disk": least, DIGEST: digest}
    return _checked(await session.ask("POST", root, body=about), (201,)).read(_Image)


async def _one(session: Session, root: str, id_: str) -> _Image:
    return _checked(await session.ask("GET", f"{root}/{id_}"), (200,)).read(_Image)


def _check_content(image: _Image, file: Path) -> None:
    """Raises Broken where the service has something else than the file."""
    told = image.os_hash_algo or ""
    same = image.size == file.stat().st_size
    if same and told in hashlib.algorithms_available:
        same = image.os_hash_value == _digest_of(file, told)
    if not same:
        raise Broken(f"image {image.id} is not what was sent: delete it, and publish again")


def _digest_of(file: Path, algorithm: str) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, algorithm).hexdigest()


def _checked(answer: Answer, wanted: tuple[int, ...]) -> Answer:
    if answer.status in wanted:
        return answer
    if answer.status == 403:
        raise Forbidden("Glance lets this user not publish images: a role is missing")
    raise Refused(f"Glance refused ({answer.status}): {_reason(answer)}")


def _reason(answer: Answer) -> Any:
    """Glance answers errors as a page."""
    return " ".join(answer.body.decode(errors="replace").split())[:500]

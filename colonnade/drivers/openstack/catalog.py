# SPDX-License-Identifier: Apache-2.0
"""This service's entry in a cloud's catalog, where every client looks for it.

It may be written again and again: what is there as it should be stays, what has another address is
changed, and nothing is ever made twice.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from colonnade.domain.errors import Broken, Invalid
from colonnade.drivers.openstack.acts import Acts
from colonnade.drivers.openstack.keystone import Record, listed, made, written
from colonnade.drivers.openstack.session import Session

TYPE: Final = "load-balancer"
INTERFACES: Final = ("public", "internal", "admin")
VERSIONS: Final = ("/v2", "/v2.0")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`url`: of the API, without a version, for clients add their own. `internal_url`: for those
    within the cloud; "" for the same. `region`: "" for the cloud's only one."""

    url: str
    internal_url: str = ""
    region: str = ""
    name: str = "octavia"

    def of_interfaces(self) -> Iterator[tuple[str, str]]:
        for interface in INTERFACES:
            inner = self.internal_url if interface != "public" else ""
            yield interface, _root(inner or self.url)


async def register(session: Session, entry: Entry, acts: Acts | None = None) -> list[str]:
    """Write it; the answer says what was done. Raises Invalid, Forbidden, Broken, Unavailable."""
    acts = acts or Acts()
    wanted = list(entry.of_interfaces())
    region = entry.region or await _only_region(session)
    service = await _service(session, entry, acts)
    before = len(acts.said)
    for interface, url in wanted:
        place = {"region_id": region, "interface": interface}
        await _endpoint(session, service, place, url, acts)
    return acts.said[before:]


async def _service(session: Session, entry: Entry, acts: Acts) -> Record | None:
    """None: there is none, and none may be made."""
    known = await listed(session, "services", type=TYPE)
    named = [one for one in known if one.name == entry.name]
    if len(known) > 1 and len(named) != 1:
        names = ", ".join(one.name for one in known)
        raise Broken(f"the catalog has several services of the type {TYPE}: {names}; use --name")
    if known:
        return (named or known)[0]
    about: dict[str, object] = {"type": TYPE, "name": entry.name, "description": "Load balancing"}
    return await acts.create(
        f"the service {entry.name}, of the type {TYPE}", lambda: made(session, "service", about)
    )


async def _endpoint(
    session: Session, service: Record | None, place: dict[str, str], url: str, acts: Acts
) -> None:
    words = f"the {place['interface']} endpoint in {place['region_id']}: {url}"
    of = service.id if service else ""
    known = await listed(session, "endpoints", service_id=of, **place) if of else []
    if not known:
        about = {"service_id": of, "url": url, **place}
        await acts.create(words, lambda: made(session, "endpoint", about))
    elif all(one.url == url for one in known):
        acts.there(words)
    else:
        await acts.change(f"{words} (it was {known[0].url})", lambda: _moved(session, known, url))


async def _moved(session: Session, known: list[Record], url: str) -> None:
    for one in known:
        await written(session, "PATCH", f"endpoints/{one.id}", {"endpoint": {"url": url}})


async def _only_region(session: Session) -> str:
    known = await listed(session, "regions")
    if len(known) != 1:
        names = ", ".join(one.id for one in known) or "none"
        raise Invalid(f"the cloud has several regions, or none ({names}): say which with --region")
    return known[0].id


def _root(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"'{url}' is no address of an API: write it as https://HOST:PORT")
    root = url.rstrip("/")
    for version in VERSIONS:
        root = root.removesuffix(version)
    return root

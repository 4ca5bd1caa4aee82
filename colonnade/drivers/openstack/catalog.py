# SPDX-License-Identifier: Apache-2.0
"""This service's entry in a cloud's catalog, where every client looks for it.

It may be written again and again: what is there as it should be stays, what has another address is
changed, and nothing is ever made twice.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

import msgspec

from colonnade.domain.errors import Broken, Forbidden, Invalid, Refused
from colonnade.drivers.openstack.session import Answer, Session

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


class _Known(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    url: str = ""


class _Said(msgspec.Struct, frozen=True):
    message: str = ""


async def register(session: Session, entry: Entry) -> list[str]:
    """Write it; the answer says what was done. Raises Invalid, Forbidden, Broken, Unavailable."""
    wanted = list(entry.of_interfaces())
    region = entry.region or await _only_region(session)
    service = await _service(session, entry)
    return [
        await _endpoint(session, service, {"region_id": region, "interface": interface}, url)
        for interface, url in wanted
    ]


async def _service(session: Session, entry: Entry) -> _Known:
    known = await _list(session, "services", type=TYPE)
    named = [one for one in known if one.name == entry.name]
    if len(known) > 1 and len(named) != 1:
        names = ", ".join(one.name for one in known)
        raise Broken(f"the catalog has several services of the type {TYPE}: {names}; use --name")
    if known:
        return (named or known)[0]
    about = {"type": TYPE, "name": entry.name, "description": "Load balancing"}
    return await _made(session, "service", about)


async def _endpoint(session: Session, service: _Known, place: dict[str, str], url: str) -> str:
    words = f"{place['interface']} endpoint in {place['region_id']}: {url}"
    known = await _list(session, "endpoints", service_id=service.id, **place)
    if not known:
        await _made(session, "endpoint", {"service_id": service.id, "url": url, **place})
        return f"created the {words}"
    if all(one.url == url for one in known):
        return f"there already is the {words}"
    for one in known:
        path = f"{session.auth_url}/endpoints/{one.id}"
        _checked(await session.ask("PATCH", path, body={"endpoint": {"url": url}}))
    return f"changed the {words} (it was {known[0].url})"


async def _only_region(session: Session) -> str:
    known = await _list(session, "regions")
    if len(known) != 1:
        names = ", ".join(one.id for one in known) or "none"
        raise Invalid(f"the cloud has several regions, or none ({names}): say which with --region")
    return known[0].id


async def _list(session: Session, plural: str, **query: str) -> list[_Known]:
    url = f"{session.auth_url}/{plural}?{urlencode(query)}"
    answer = _checked(await session.ask("GET", url))
    return answer.within(plural, list[_Known])


async def _made(session: Session, noun: str, about: dict[str, str]) -> _Known:
    answer = await session.ask("POST", f"{session.auth_url}/{noun}s", body={noun: about})
    return _checked(answer).within(noun, _Known)


def _checked(answer: Answer) -> Answer:
    if answer.status < 300:
        return answer
    reason = answer.within("error", _Said).message
    if answer.status == 403:
        raise Forbidden(f"Keystone lets this user not write the catalog: {reason}")
    raise Refused(f"Keystone refused ({answer.status}): {reason}")


def _root(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"'{url}' is no address of an API: write it as https://HOST:PORT")
    root = url.rstrip("/")
    for version in VERSIONS:
        root = root.removesuffix(version)
    return root

# SPDX-License-Identifier: Apache-2.0
"""Keystone's own records, as an administrator reads and writes them. Raises Unavailable."""

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from colonnade.domain.errors import Forbidden, Refused
from colonnade.drivers.openstack.session import Answer, Session


class Record(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    url: str = ""


class _Said(msgspec.Struct, frozen=True):
    message: str = ""


async def listed(session: Session, plural: str, **query: str) -> list[Record]:
    """`plural`: "users", or a longer path that ends in it. Raises Forbidden, Refused."""
    url = f"{session.auth_url}/{plural}?{urlencode(query)}"
    return checked(await session.ask("GET", url)).within(plural.rpartition("/")[2], list[Record])


async def made(session: Session, noun: str, about: Mapping[str, object]) -> Record:
    answer = await session.ask("POST", f"{session.auth_url}/{noun}s", body={noun: about})
    return checked(answer).within(noun, Record)


async def written(session: Session, method: str, path: str, body: object = None) -> None:
    checked(await session.ask(method, f"{session.auth_url}/{path}", body=body))


def checked(answer: Answer) -> Answer:
    if answer.status < 300:
        return answer
    reason = answer.within("error", _Said).message
    if answer.status == 403:
        raise Forbidden(f"Keystone lets this user not do that, an administrator must: {reason}")
    raise Refused(f"Keystone refused ({answer.status}): {reason}")

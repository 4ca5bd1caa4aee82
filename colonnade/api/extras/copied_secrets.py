# SPDX-License-Identifier: Apache-2.0
"""Secrets of a cloud's key manager that a request newly refers to: seen with the caller's own
rights, and copied with this service's.

The caller's token says whether the caller may use a secret; what is served must be readable for
this service for as long as it is used, so the copy is what this service itself reads. No
transaction is open meanwhile. No content, and no word of the key manager, is in an answer.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from colonnade.api.http.call import Call
from colonnade.domain.errors import Invalid, NotFound, Unavailable
from colonnade.domain.secrets import Use
from colonnade.drivers.secrets.key_manager import KeyManager
from colonnade.drivers.secrets.material import Material, Upload, read_material
from colonnade.drivers.secrets.protocol import source_of
from colonnade.store.secrets import copies
from colonnade.store.secrets.references import Unseen, lost_are

AT_ONCE: Final = 8  # of one request
SEEN_S_MAX: Final = 20.0  # for all that a request names: a listener may have many
AWAY: Final = "the key manager cannot be asked now; try again"
NOT_LENT: Final = "this service may not read it: its owner has to let it (openstack acl user add)"


async def seen(call: Call, unseen: Unseen, token: str) -> Call:
    """The same call, once whoever has the token was seen to read what it names, and there is a copy
    of each. `token` "": an operator asks for others, so this service's own rights decide.
    Raises Invalid in the wire contract's words, Unavailable while the key manager does not
    answer."""
    key_manager = call.site.key_manager
    assert key_manager is not None, "else nothing is unseen"
    places = asyncio.Semaphore(AT_ONCE)

    async def copied(use: Use) -> tuple[Use, str, Material]:
        async with places:
            return use, *await _copied(key_manager, use, token)

    # One that is used twice as the same is read once.
    asked = {(use.reference, use.type): use for use in unseen.uses}
    try:
        async with asyncio.timeout(SEEN_S_MAX) as bound:
            found = await asyncio.gather(*(copied(use) for use in asked.values()))
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise Unavailable(lost_are([one for one, _ in asked], AWAY).public) from error
    async with call.site.database.transaction() as connection:
        for use, place, material in found:
            copy = copies.copy_of(unseen.project, place, use.type, material.facts)
            envelope = call.site.sealing().enclose(material.pem.encode(), copy.id)
            await copies.keep(connection, copy, envelope, material.public)
    return replace(call, seen=call.seen | {use.reference for use, _, _ in found})


async def _copied(key_manager: KeyManager, use: Use, token: str) -> tuple[str, Material]:
    """Where it is, and what this service reads there. Raises Invalid, Unavailable."""
    source = source_of(use.reference)
    try:
        if source is None or not await key_manager.owns(source):
            raise NotFound("")
        upload = await _read(key_manager, source.place, token)
        return source.place, read_material(use.type, upload, datetime.now(UTC))
    except (NotFound, Invalid) as error:
        raise lost_are([use.reference], error.public) from None
    except Unavailable as error:
        raise Unavailable(lost_are([use.reference], AWAY).public, detail=str(error)) from None


async def _read(key_manager: KeyManager, place: str, token: str) -> Upload:
    """Raises NotFound with what an owner can do about it, "" where it is not told whether there is
    such a secret."""
    try:
        await key_manager.read(place, token)
    except NotFound:
        raise NotFound("" if token else NOT_LENT) from None
    try:
        return await key_manager.read(place)
    except NotFound:
        await key_manager.lend(place, token)
    try:
        return await key_manager.read(place)
    except NotFound:
        raise NotFound(NOT_LENT) from None

# SPDX-License-Identifier: Apache-2.0
"""A load balancer with all that is under it, read from lists that any endpoint has.

The shape is that of the answer to a fully populated create: listeners with their policies and
those with their rules, pools with their members and health monitor.
"""

import asyncio
from typing import Any, Final

from colonnade.cli.nouns.index import OF_TREE
from colonnade.cli.objects.session import Session
from colonnade.domain.errors import NotFound
from colonnade.domain.shape import LISTENERS, LOAD_BALANCERS, MEMBERS, POOLS, Noun

AT_ONCE_MAX = 8  # requests on their way at the same time
_EVERYWHERE: Final = (LISTENERS, POOLS, MEMBERS)  # an endpoint may lack the others

Shown = dict[str, Any]


async def read_whole(session: Session, root_id: str) -> Shown:
    root: Shown = (await session.rest.get(f"lbaas/{LOAD_BALANCERS.many}/{root_id}"))["loadbalancer"]
    await _fill(session, asyncio.Semaphore(AT_ONCE_MAX), LOAD_BALANCERS, root)
    return dict(root)


async def _fill(session: Session, gate: asyncio.Semaphore, noun: Noun, shown: Shown) -> None:
    """Put what is below the object into it."""

    async def fill(child: Noun) -> None:
        found = await _read(session, gate, child, shown)
        await asyncio.gather(*(_fill(session, gate, child, one) for one in found))
        shown[child.word] = next(iter(found), None) if child.alone else found

    await asyncio.gather(*map(fill, noun.below))


async def _read(session: Session, gate: asyncio.Semaphore, noun: Noun, above: Shown) -> list[Shown]:
    """Those of the noun below one object. It may have said already that there are none."""
    try:
        if noun.alone:
            return await _the_one(session, gate, noun, above)
        if above.get(noun.word) == []:
            return []
        assert noun.above is not None
        parent = above["id"] if noun.nested else ""
        query = {} if noun.nested else {noun.above.wire_id: above["id"]}
        async with gate:
            found = await session.names.every(OF_TREE[noun], parent, query)
    except NotFound:
        if noun in _EVERYWHERE:
            raise
        return []
    return sorted(found, key=_position) if noun.ordered else found


async def _the_one(
    session: Session, gate: asyncio.Semaphore, noun: Noun, above: Shown
) -> list[Shown]:
    one_id = above.get(noun.wire_id)
    if not one_id:
        return []
    async with gate:
        return [(await session.rest.get(f"lbaas/{noun.many}/{one_id}"))[noun.wrapper]]


def _position(one: Shown) -> int:
    return int(one.get("position") or 0)

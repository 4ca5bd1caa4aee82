# SPDX-License-Identifier: Apache-2.0
"""The generations of a load balancer: who changed what and when, and the way back to one.

The way back is a change like any other: a new generation, whose tree is that of the old one, with
the same ids. Generations are kept for a while, and then there is no way back to them.
"""

from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import read_body
from colonnade.api.http.lists import Shown
from colonnade.api.resources.full_trees import full_tree
from colonnade.api.resources.objects import listed, whole, wrapped
from colonnade.api.resources.past_objects import GenerationObject
from colonnade.api.user.load_balancers import ROOT_PATH
from colonnade.domain.errors import Invalid
from colonnade.domain.limits import PAGE_MAX
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.store.postgres.times import time
from colonnade.store.rows import history
from colonnade.store.rows.history import Changed, Generation

LIMIT: Final = 100
# Of the machinery, not of what was wished.
_INNER: Final = frozenset({"cluster_id"})


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    generation: int


async def show_history(call: Call) -> JSON:
    root_id = call.id("load_balancer_id")
    limit, marker = min(number(call, "limit") or LIMIT, PAGE_MAX), number(call, "marker")
    await call.check(LOAD_BALANCERS, root_id)
    async with call.site.database.read() as connection:
        found = await history.generations(connection, root_id, below=marker, limit=limit)
    links = []
    if len(found) == limit:
        words = urlencode({"limit": limit, "marker": found[-1].generation})
        links.append({"rel": "next", "href": f"{call.base}{call.path}?{words}"})
    return {"history": [_shown(one) for one in found], "history_links": links}


async def roll_back(call: Call) -> JSON:
    generation: int = read_body(call.raw, int, "generation")  # type: ignore[type-var]
    root_id = call.id("load_balancer_id")
    now = await call.look(LOAD_BALANCERS, root_id)
    async with call.site.database.read() as connection:
        past = await history.at_generation(connection, now.tree, now.generation, generation)
    await call.site.providers.check_members(
        past.provider, past.members, now.tree.subnets, token=call.caller.token
    )
    async with call.editing(LOAD_BALANCERS, root_id) as edit:
        edit.tree = past
    async with call.site.database.read() as connection:
        return {"loadbalancer": await full_tree(connection, root_id)}


def number(call: Call, word: str) -> int | None:
    """A whole number from the query, from 1 on. Raises Invalid."""
    text = call.query.get(word, [""])[-1]
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
        raise Invalid(f"{word} is a whole number, not '{text[:20]}'", field=word)
    return int(text)


def _shown(one: Generation) -> Shown:
    return {
        "generation": one.generation,
        "at": time(one.at),
        "by": one.user or one.project or None,
        "user": one.user or None,
        "project_id": one.project or None,
        "what": one.what,
        "changes": [change(changed) for changed in one.changes],
    }


def change(changed: Changed) -> Shown:
    return {
        "type": changed.kind,
        "id": changed.id,
        "name": changed.name,
        "action": changed.action,
        "parent_id": changed.parent_id,
        "parent_name": changed.parent_name or None,
        "before": outer(changed.before),
        "after": outer(changed.after),
    }


def outer(fields: dict[str, Any] | None) -> Shown | None:
    """Attributes by the names of the wire, without those of the machinery."""
    if fields is None:
        return None
    shown = {name: value for name, value in fields.items() if name not in _INNER}
    vip = msgspec.to_builtins(shown.pop("vip", {}))
    return shown | {f"vip_{name}": value for name, value in vip.items() if name != "owned"}


RULE: Final = "os_load-balancer_api:loadbalancer:"
ROUTES = [
    Route(
        method="GET",
        path=ROOT_PATH + "/history",
        handler=show_history,
        rule=RULE + "get_history",
        query=("limit", "marker"),
        answers=listed("history", GenerationObject),
        summary="List the generations of a load balancer, the newest first",
    ),
    Route(
        method="POST",
        path=ROOT_PATH + "/rollback",
        handler=roll_back,
        rule=RULE + "rollback",
        takes=Rollback,
        answers=wrapped("loadbalancer", whole(LOAD_BALANCERS)),
        example={"generation": 3},
        summary="Roll a load balancer back to an earlier generation",
    ),
]

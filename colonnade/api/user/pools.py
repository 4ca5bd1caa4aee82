# SPDX-License-Identifier: Apache-2.0
"""Pools, as the user API sees them: made under a load balancer, or as a listener's default.

A pool may come with its members and its health monitor; the readers here take them along, for
a pool alone as for a whole tree.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call
from colonnade.api.http.decoding import Body, changed, given, set_fields
from colonnade.api.resources import pages
from colonnade.api.resources.bodies import PoolCreate, PoolUpdate
from colonnade.api.resources.objects import SAMPLE_ID, PoolObject
from colonnade.api.resources.resource import Act, Wire, resource
from colonnade.api.resources.tls import change_tls, read_tls, refuse_empty_lists
from colonnade.api.user.health_monitors import read_health_monitor, with_monitor
from colonnade.api.user.members import read_member
from colonnade.domain.errors import Conflict, Invalid
from colonnade.domain.ids import ListenerId, PoolId, new_id
from colonnade.domain.pools import Persistence, Pool
from colonnade.store.rows.tables import LISTENERS, LOAD_BALANCERS, POOLS


async def create_pool(call: Call) -> JSON:
    body = call.body(PoolCreate, "pool")
    pool = read_pool(body)
    root_id, named = body.said_id("loadbalancer_id"), body.said_id("listener_id")
    listener_id = ListenerId(named) if named is not None else None
    if listener_id is not None:
        place, found = LISTENERS, str(listener_id)
    elif root_id is not None:
        place, found = LOAD_BALANCERS, root_id
    else:
        raise Invalid("Must provide at least one of: loadbalancer_id, listener_id", field="pool")
    if pool.members:
        await call.check_members(place, found, lambda _: pool.members)
    async with call.editing(place, found) as edit:
        if root_id not in (None, edit.tree.id):
            raise Invalid(
                f"listener {listener_id} is not on load balancer {root_id}",
                field="listener_id",
            )
        tree = edit.tree.with_pool(pool)
        if listener_id is not None:
            listener = tree.listener(listener_id)
            if listener.default_pool_id is not None:
                raise Conflict("This listener already has a default pool")
            tree = tree.with_listener(replace(listener, default_pool_id=pool.id))
        edit.tree = tree
    return pages.added(call, edit, POOLS, pool.id, "pool")


async def list_pools(call: Call) -> JSON:
    return await pages.page(call, POOLS, "pools")


async def show_pool(call: Call) -> JSON:
    return await pages.one(call, POOLS, call.id("pool_id"), "pool")


async def update_pool(call: Call) -> JSON:
    body = call.body(PoolUpdate, "pool")
    pool_id = PoolId(call.id("pool_id"))
    refuse_empty_lists(set_fields(body))
    async with call.editing(POOLS, pool_id) as edit:
        pool = edit.tree.pool(pool_id)
        fields = changed(body, Pool)
        fields = change_tls(fields, used=fields.get("tls_enabled", pool.tls_enabled))
        if persistence := body.said("session_persistence"):
            fields["session_persistence"] = read_persistence(persistence, pool.session_persistence)
        edit.tree = edit.tree.with_pool(replace(pool, **fields))
    return await pages.one(call, POOLS, pool_id, "pool")


async def delete_pool(call: Call) -> JSON:
    pool_id = PoolId(call.id("pool_id"))
    async with call.editing(POOLS, pool_id) as edit:
        edit.tree = edit.tree.without_pool(pool_id)


def read_pool(body: Body) -> Pool:
    for name in ("protocol", "lb_algorithm"):
        if not body.said(name):
            raise Invalid(f"Invalid input for field/attribute {name}. Mandatory field missing.")
    fields = {
        name: value
        for name, value in given(body, Pool).items()
        if name not in ("members", "session_persistence")
    }
    if persistence := body.said("session_persistence"):
        fields["session_persistence"] = read_persistence(persistence, None)
    fields = read_tls(fields, used=bool(body.said("tls_enabled")), alpn=False)
    members = tuple(read_member(member) for member in body.each("members"))
    pool = Pool(id=PoolId(new_id()), members=members, **fields)
    monitor = body.said("healthmonitor")
    return with_monitor(pool, read_health_monitor(monitor)) if monitor is not None else pool


def read_persistence(body: Body, old: Persistence | None) -> Persistence:
    """On a change the type may be left out, and then stays; so does the cookie of that type."""
    fields = given(body, Persistence)
    if "type" not in fields:
        if old is None:
            raise Invalid("Invalid input for field/attribute type. Mandatory field missing.")
        fields = msgspec.structs.asdict(old) | fields
    elif old is not None and old.type == fields["type"]:
        fields.setdefault("cookie_name", old.cookie_name)
    return Persistence(**fields)


_WIRE: Final = Wire(
    steps="pools",
    place="pool_id",
    one="pool",
    many="pools",
    rule="pool",
    object=PoolObject,
)
ROUTES = resource(
    _WIRE,
    list=Act(handler=list_pools, summary="List pools"),
    create=Act(
        handler=create_pool,
        takes=PoolCreate,
        example={
            "loadbalancer_id": SAMPLE_ID,
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
        },
        summary="Create a pool, of a load balancer or as a listener's default",
    ),
    show=Act(handler=show_pool, summary="Show a pool"),
    update=Act(
        handler=update_pool,
        takes=PoolUpdate,
        example={"lb_algorithm": "LEAST_CONNECTIONS"},
        summary="Change a pool",
    ),
    delete=Act(handler=delete_pool, summary="Delete a pool with its members and its monitor"),
)

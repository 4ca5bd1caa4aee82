# SPDX-License-Identifier: Apache-2.0
"""Pools, as the user API sees them: made under a load balancer, or as a listener's default.

A pool may come with its members and its health monitor; the readers here take them along, for
a pool alone as for a whole tree.
"""

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import changed, given, set_fields
from colonnade.api.resources import pages
from colonnade.api.resources.bodies import PersistenceBody, PoolCreate, PoolNested, PoolUpdate
from colonnade.api.resources.objects import SAMPLE_ID, PoolObject, listed, wrapped
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
    listener_id = ListenerId(str(body.listener_id)) if body.listener_id else None
    if listener_id is not None:
        place, found = LISTENERS, str(listener_id)
    elif body.loadbalancer_id:
        place, found = LOAD_BALANCERS, str(body.loadbalancer_id)
    else:
        raise Invalid("Must provide at least one of: loadbalancer_id, listener_id", field="pool")
    async with call.editing(place, found) as edit:
        if body.loadbalancer_id and edit.tree.id != str(body.loadbalancer_id):
            raise Invalid(
                f"listener {listener_id} is not on load balancer {body.loadbalancer_id}",
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
        if isinstance(body.session_persistence, PersistenceBody):
            fields["session_persistence"] = read_persistence(
                body.session_persistence, pool.session_persistence
            )
        edit.tree = edit.tree.with_pool(replace(pool, **fields))
    return await pages.one(call, POOLS, pool_id, "pool")


async def delete_pool(call: Call) -> JSON:
    pool_id = PoolId(call.id("pool_id"))
    async with call.editing(POOLS, pool_id) as edit:
        edit.tree = edit.tree.without_pool(pool_id)


def read_pool(body: PoolCreate | PoolNested) -> Pool:
    for name in ("protocol", "lb_algorithm"):
        if not getattr(body, name):
            raise Invalid(f"Invalid input for field/attribute {name}. Mandatory field missing.")
    fields = {
        name: value
        for name, value in given(body, Pool).items()
        if name not in ("members", "session_persistence")
    }
    if isinstance(body.session_persistence, PersistenceBody):
        fields["session_persistence"] = read_persistence(body.session_persistence, None)
    fields = read_tls(fields, used=bool(body.tls_enabled), alpn=False)
    members = tuple(read_member(member) for member in body.members or ())
    pool = Pool(id=PoolId(new_id()), members=members, **fields)
    if body.healthmonitor is UNSET or body.healthmonitor is None:
        return pool
    return with_monitor(pool, read_health_monitor(body.healthmonitor))


def read_persistence(body: PersistenceBody, old: Persistence | None) -> Persistence:
    """On a change the type may be left out, and then stays; so does the cookie of that type."""
    fields = given(body, Persistence)
    if "type" not in fields:
        if old is None:
            raise Invalid("Invalid input for field/attribute type. Mandatory field missing.")
        fields = msgspec.structs.asdict(old) | fields
    elif old is not None and old.type == fields["type"]:
        fields.setdefault("cookie_name", old.cookie_name)
    return Persistence(**fields)


POOLS_PATH = "/v2/lbaas/pools"
POOL_PATH = POOLS_PATH + "/{pool_id:str}"
ROUTES = [
    Route(
        method="GET",
        path=POOLS_PATH,
        handler=list_pools,
        answers=listed("pools", PoolObject),
        rule="os_load-balancer_api:pool:get_all",
        summary="List pools",
    ),
    Route(
        method="POST",
        path=POOLS_PATH,
        handler=create_pool,
        answers=wrapped("pool", PoolObject),
        example={
            "loadbalancer_id": SAMPLE_ID,
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
        },
        rule="os_load-balancer_api:pool:post",
        takes=PoolCreate,
        wrapper="pool",
        success=201,
        summary="Make a pool, under a load balancer or as a listener's default",
    ),
    Route(
        method="GET",
        path=POOL_PATH,
        handler=show_pool,
        answers=wrapped("pool", PoolObject),
        rule="os_load-balancer_api:pool:get_one",
        summary="Show a pool",
    ),
    Route(
        method="PUT",
        path=POOL_PATH,
        handler=update_pool,
        example={"lb_algorithm": "LEAST_CONNECTIONS"},
        answers=wrapped("pool", PoolObject),
        rule="os_load-balancer_api:pool:put",
        takes=PoolUpdate,
        wrapper="pool",
        summary="Change a pool",
    ),
    Route(
        method="DELETE",
        path=POOL_PATH,
        handler=delete_pool,
        rule="os_load-balancer_api:pool:delete",
        success=204,
        summary="Delete a pool with its members and its monitor",
    ),
]

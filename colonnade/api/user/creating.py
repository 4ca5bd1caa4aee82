# SPDX-License-Identifier: Apache-2.0
"""What is made or deleted in a way of its own: listeners, which may bring pools, and pools, which
listeners use.
"""

from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call
from colonnade.api.resources import bodies, pages
from colonnade.api.user.nested import NestedObjects, pools_inside
from colonnade.domain.errors import Conflict, Invalid
from colonnade.domain.ids import ListenerId, PoolId
from colonnade.domain.shape import LISTENERS, LOAD_BALANCERS, POOLS


async def create_listener(call: Call) -> JSON:
    body = call.body(bodies.create(LISTENERS), "listener")
    root_id = str(body.said("loadbalancer_id"))
    before = [NestedObjects().read(POOLS, pool) for pool in pools_inside(LISTENERS, body)]
    if members := [member for pool in before for member in pool.members]:
        await call.check_members(LOAD_BALANCERS, root_id, lambda _: members)
    whole = NestedObjects()
    async with call.editing(LOAD_BALANCERS, root_id) as edit:
        tree = edit.tree
        whole.know(tree.pools)
        whole.read_pools_of(LISTENERS, body)
        listener = whole.read(LISTENERS, body)
        for pool in whole.pools:
            tree = tree.with_pool(pool)
        edit.tree = tree.with_listener(listener)
    return pages.added(call, edit, LISTENERS, listener.id, "listener")


async def create_pool(call: Call) -> JSON:
    body = call.body(bodies.create(POOLS), "pool")
    pool = NestedObjects().read(POOLS, body)
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


async def delete_pool(call: Call) -> JSON:
    pool_id = PoolId(call.id("pool_id"))
    async with call.editing(POOLS, pool_id) as edit:
        edit.tree = edit.tree.without_pool(pool_id)

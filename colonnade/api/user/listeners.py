# SPDX-License-Identifier: Apache-2.0
"""Listeners, as the user API sees them: the ports of a load balancer's VIP.

A listener without a pool is accepted; its answer says what it lacks. Which protocols can be
served is the provider's to say, before anything is stored.
"""

from typing import Final

from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import changed, set_fields
from colonnade.api.resources import pages
from colonnade.api.resources.bodies import ListenerCreate, ListenerUpdate
from colonnade.api.resources.objects import SAMPLE_ID, ListenerObject, Statistics, wrapped
from colonnade.api.resources.resource import Act, Wire, resource
from colonnade.api.resources.tls import change_tls, refuse_empty_lists
from colonnade.api.user.members import read_member
from colonnade.api.user.nested import NestedObjects, canonical_listener, pools_inside
from colonnade.domain.ids import ListenerId
from colonnade.domain.listeners import Listener
from colonnade.domain.vocabulary import ListenerProtocol
from colonnade.store.rows.tables import LISTENERS, LOAD_BALANCERS
from colonnade.store.trees import records


async def create_listener(call: Call) -> JSON:
    body = call.body(ListenerCreate, "listener")
    root_id = str(body.said("loadbalancer_id"))
    if members := [read_member(one) for pool in pools_inside(body) for one in pool.each("members")]:
        await call.check_members(LOAD_BALANCERS, root_id, lambda _: members)
    wholes = NestedObjects()
    async with call.editing(LOAD_BALANCERS, root_id) as edit:
        tree = edit.tree
        wholes.know(tree.pools)
        listener = wholes.read_listener(body)
        for pool in wholes.pools:
            tree = tree.with_pool(pool)
        edit.tree = tree.with_listener(listener)
    return pages.added(call, edit, LISTENERS, listener.id, "listener")


async def list_listeners(call: Call) -> JSON:
    return await pages.page(call, LISTENERS, "listeners")


async def show_listener(call: Call) -> JSON:
    return await pages.one(call, LISTENERS, call.id("listener_id"), "listener")


async def update_listener(call: Call) -> JSON:
    body = call.body(ListenerUpdate, "listener")
    listener_id = ListenerId(call.id("listener_id"))
    refuse_empty_lists(set_fields(body))
    async with call.editing(LISTENERS, listener_id) as edit:
        listener = edit.tree.listener(listener_id)
        used = listener.protocol is ListenerProtocol.TERMINATED_HTTPS
        fields = change_tls(canonical_listener(changed(body, Listener)), used=used)
        edit.tree = edit.tree.with_listener(replace(listener, **fields))
    return await pages.one(call, LISTENERS, listener_id, "listener")


async def delete_listener(call: Call) -> JSON:
    listener_id = ListenerId(call.id("listener_id"))
    async with call.editing(LISTENERS, listener_id) as edit:
        edit.tree = edit.tree.without_listener(listener_id)


async def show_listener_stats(call: Call) -> JSON:
    listener_id = call.id("listener_id")
    await call.record(LISTENERS, listener_id)
    async with call.site.database.read() as connection:
        return {"stats": await records.statistics(connection, LISTENERS, listener_id)}


_WIRE: Final = Wire(
    steps="listeners",
    place="listener_id",
    one="listener",
    many="listeners",
    rule="listener",
    object=ListenerObject,
)
ROUTES = [
    *resource(
        _WIRE,
        list=Act(handler=list_listeners, summary="List listeners"),
        create=Act(
            handler=create_listener,
            takes=ListenerCreate,
            example={
                "loadbalancer_id": SAMPLE_ID,
                "protocol": "HTTP",
                "protocol_port": 80,
                "name": "web",
            },
            summary="Create a listener: a port of a load balancer's VIP",
        ),
        show=Act(handler=show_listener, summary="Show a listener"),
        update=Act(
            handler=update_listener,
            takes=ListenerUpdate,
            example={"connection_limit": 1000},
            summary="Change a listener",
        ),
        delete=Act(handler=delete_listener, summary="Delete a listener"),
    ),
    Route(
        method="GET",
        path=_WIRE.object_path + "/stats",
        handler=show_listener_stats,
        answers=wrapped("stats", Statistics),
        rule="os_load-balancer_api:listener:get_stats",
        summary="Show a listener's counters",
    ),
]

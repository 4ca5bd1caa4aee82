# SPDX-License-Identifier: Apache-2.0
"""Load balancers, as the user API sees them: roots of trees, alone or with all of it at once.

The VIP is allocated before the transaction, for that takes a call to the network service, and
given back when the transaction fails; its port is named after the load balancer, so that what a
crash leaves can be found.
"""

from typing import Any

from msgspec.structs import replace

from colonnade.api import pages
from colonnade.api.call import JSON, Call, Route
from colonnade.api.reading import changed, given, set_fields
from colonnade.api.user.bodies import (
    ListenerNested,
    LoadBalancerCreate,
    LoadBalancerUpdate,
    PoolNested,
)
from colonnade.api.user.listeners import read_listener
from colonnade.api.user.members import read_address
from colonnade.api.user.pools import read_pool, refuse_in_pool
from colonnade.api.user.shown import show
from colonnade.api.user.trees import full_tree, status_tree
from colonnade.api.user.unserved import refuse_unserved
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import (
    ClusterId,
    LoadBalancerId,
    NetworkId,
    PoolId,
    PortId,
    SubnetId,
    new_id,
)
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.providers.provider import VipWish
from colonnade.store import records, trees
from colonnade.store.rows import LOAD_BALANCERS


async def create_load_balancer(call: Call) -> JSON:
    body = call.body(LoadBalancerCreate, "loadbalancer")
    providers = call.site.providers
    name = body.provider or providers.default
    provider = providers.get(name)
    _refuse(name, body)
    root_id = LoadBalancerId(new_id())
    wish = read_vip(body, root_id)
    listeners, pools = read_children(body)
    vip = await provider.allocate_vip(wish)
    try:
        tree = LoadBalancer(
            id=root_id,
            project_id=call.owner(body.project_id or body.tenant_id or None),
            cluster_id=ClusterId(new_id()),
            vip=vip,
            provider=name,
            listeners=listeners,
            pools=pools,
            **_own(given(body, LoadBalancer)),
        )
        await providers.check_members(name, (m for pool in pools for m in pool.members))
        stored = await trees.create(call.site.database, tree, providers)
    except BaseException:
        await provider.release_vip(vip)
        raise
    if not (listeners or pools):
        return {
            "loadbalancer": show(LOAD_BALANCERS, added.added(stored, LOAD_BALANCERS, root_id))
        }
    async with call.site.database.read() as connection:
        return {"loadbalancer": await full_tree(connection, root_id)}


async def list_load_balancers(call: Call) -> JSON:
    return await pages.page(call, LOAD_BALANCERS, "loadbalancers")


async def show_load_balancer(call: Call) -> JSON:
    return await pages.one(call, LOAD_BALANCERS, call.id("load_balancer_id"), "loadbalancer")


async def update_load_balancer(call: Call) -> JSON:
    body = call.body(LoadBalancerUpdate, "loadbalancer")
    root_id = call.id("load_balancer_id")
    async with call.editing(LOAD_BALANCERS, root_id) as edit:
        refuse_unserved(edit.tree.provider, body, LoadBalancer)
        fields = changed(body, LoadBalancer)
        if "vip_qos_policy_id" in set_fields(body):
            policy = str(body.vip_qos_policy_id) if body.vip_qos_policy_id else None
            fields["vip"] = replace(edit.tree.vip, qos_policy_id=policy)
        edit.tree = replace(edit.tree, **fields)
    return await pages.one(call, LOAD_BALANCERS, root_id, "loadbalancer")


async def delete_load_balancer(call: Call) -> JSON:
    root_id = call.id("load_balancer_id")
    async with call.editing(LOAD_BALANCERS, root_id) as edit:
        if not call.flag("cascade") and (edit.tree.listeners or edit.tree.pools):
            raise Invalid(f"Cannot delete Load Balancer {root_id} - it has children")
        edit.delete()


async def show_statistics(call: Call) -> JSON:
    root_id = call.id("load_balancer_id")
    await call.record(LOAD_BALANCERS, root_id)
    async with call.site.database.read() as connection:
        return {"stats": await records.statistics(connection, LOAD_BALANCERS, root_id)}


async def show_statuses(call: Call) -> JSON:
    root = await call.record(LOAD_BALANCERS, call.id("load_balancer_id"))
    async with call.site.database.read() as connection:
        return {"statuses": {"loadbalancer": await status_tree(connection, root)}}


def read_vip(body: LoadBalancerCreate, root_id: LoadBalancerId) -> VipWish:
    ids = {n: str(v) if (v := getattr(body, f"vip_{n}")) else None for n in _VIP_PLACES}
    if not any(ids[n] for n in ("port_id", "network_id", "subnet_id")):
        raise Invalid(
            "VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.", field="vip"
        )
    address = body.vip_address or None
    return VipWish(
        load_balancer_id=root_id,
        address=read_address("vip_address", address) if address else None,
        port_id=PortId(ids["port_id"]) if ids["port_id"] else None,
        network_id=NetworkId(ids["network_id"]) if ids["network_id"] else None,
        subnet_id=SubnetId(ids["subnet_id"]) if ids["subnet_id"] else None,
        qos_policy_id=ids["qos_policy_id"],
    )


def read_children(body: LoadBalancerCreate) -> tuple[tuple[Listener, ...], tuple[Pool, ...]]:
    """Listeners and pools of a tree that comes at once; pools are referred to by name."""
    pools = [read_pool(nested) for nested in body.pools or ()]
    named: dict[str, PoolId] = {}
    listeners = []

    def add_name(pool: Pool) -> None:
        if not pool.name:
            raise Invalid(
                "Pools must be named when they come with their load balancer.", field="pools"
            )
        if pool.name in named:
            raise Invalid(f"Pool name '{pool.name}' must be unique", field="pools")
        named[pool.name] = pool.id

    for pool in pools:
        add_name(pool)
    wishes: list[tuple[ListenerNested, PoolNested | None]] = []
    for nested in body.listeners or ():
        default = nested.default_pool or None
        if default is not None and not _is_reference(default):
            pool = read_pool(default)
            add_name(pool)
            pools.append(pool)
        wishes.append((nested, default))
    for nested, default in wishes:
        pool_id = None
        if default is not None:
            pool_id = named.get(default.name or "")
            if pool_id is None:
                raise Invalid(f"Pool name '{default.name}' is not defined", field="default_pool")
        listeners.append(read_listener(nested, pool_id))
    return tuple(listeners), tuple(pools)


def _is_reference(body: PoolNested) -> bool:
    return set(set_fields(body)) == {"name"}


def _refuse(provider: str, body: LoadBalancerCreate) -> None:
    if body.flavor_id:
        raise Invalid(f"Flavor {body.flavor_id} not found.")
    if body.availability_zone:
        raise Invalid(f"Availability Zone {body.availability_zone} not found.")
    refuse_unserved(provider, body, LoadBalancer)
    for listener in body.listeners or ():
        refuse_unserved(provider, listener, Listener)
        if listener.default_pool:
            refuse_in_pool(provider, listener.default_pool)
    for pool in body.pools or ():
        refuse_in_pool(provider, pool)


def _own(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in fields if name in _OWN}


_VIP_PLACES = ("port_id", "network_id", "subnet_id", "qos_policy_id")
_OWN = frozenset({"name", "description", "admin_state_up", "tags"})

ROOTS_PATH = "/v2/lbaas/loadbalancers"
ROOT_PATH = ROOTS_PATH + "/{load_balancer_id:str}"
ROUTES = [
    Route(
        method="GET",
        path=ROOTS_PATH,
        handler=list_load_balancers,
        rule="os_load-balancer_api:loadbalancer:get_all",
        summary="List load balancers",
    ),
    Route(
        method="POST",
        path=ROOTS_PATH,
        handler=create_load_balancer,
        rule="os_load-balancer_api:loadbalancer:post",
        guarded=("vip_sg_ids",),
        takes=LoadBalancerCreate,
        wrapper="loadbalancer",
        success=201,
        summary="Make a load balancer, alone or with its whole tree",
    ),
    Route(
        method="GET",
        path=ROOT_PATH,
        handler=show_load_balancer,
        rule="os_load-balancer_api:loadbalancer:get_one",
        summary="Show a load balancer",
    ),
    Route(
        method="PUT",
        path=ROOT_PATH,
        handler=update_load_balancer,
        rule="os_load-balancer_api:loadbalancer:put",
        guarded=("vip_sg_ids",),
        takes=LoadBalancerUpdate,
        wrapper="loadbalancer",
        summary="Change a load balancer",
    ),
    Route(
        method="DELETE",
        path=ROOT_PATH,
        handler=delete_load_balancer,
        rule="os_load-balancer_api:loadbalancer:delete",
        success=204,
        query=("cascade",),
        summary="Delete a load balancer; with cascade, all that is under it",
    ),
    Route(
        method="GET",
        path=ROOT_PATH + "/stats",
        handler=show_statistics,
        rule="os_load-balancer_api:loadbalancer:get_stats",
        summary="Show a load balancer's counters",
    ),
    Route(
        method="GET",
        path=ROOT_PATH + "/status",
        handler=show_statuses,
        rule="os_load-balancer_api:loadbalancer:get_status",
        summary="Show the statuses of a whole tree",
    ),
    Route(
        method="GET",
        path=ROOT_PATH + "/statuses",
        handler=show_statuses,
        rule="os_load-balancer_api:loadbalancer:get_status",
        summary="Show the statuses of a whole tree",
    ),
]

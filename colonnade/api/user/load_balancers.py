# SPDX-License-Identifier: Apache-2.0
"""Load balancers, as the user API sees them: roots of trees, alone or with all of it at once.

The VIP is allocated before the transaction, for that takes a call to the network service, and
given back when the transaction fails; its port is named after the load balancer, so that what a
crash leaves can be found.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, UnsetType
from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import Body, changed, given, plain, set_fields
from colonnade.api.resources import bodies, pages
from colonnade.api.resources.full_trees import full_tree, status_tree
from colonnade.api.resources.objects import (
    SAMPLE_ID,
    LoadBalancerStatuses,
    Statistics,
    whole,
    wrapped,
)
from colonnade.api.resources.resource import wire
from colonnade.api.resources.shown import show
from colonnade.api.user.members import check_address
from colonnade.api.user.nested import read_children
from colonnade.api.user.placing import Choice, choose
from colonnade.api.user.reflavoring import check_said, reflavored
from colonnade.api.user.tree_routes import TreeNoun, tree_routes
from colonnade.domain.addresses import canonical
from colonnade.domain.attributes import described
from colonnade.domain.errors import Conflict, Invalid
from colonnade.domain.flat import Verb
from colonnade.domain.ids import (
    ClusterId,
    LoadBalancerId,
    NetworkId,
    PortId,
    QosPolicyId,
    SecurityGroupId,
    SubnetId,
    new_id,
)
from colonnade.domain.shape import LOAD_BALANCERS
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.providers.provider import VipWish
from colonnade.providers.shared_addresses import check_free
from colonnade.store.trees import records, wishes
from colonnade.store.trees.written_records import record_of


async def create_load_balancer(call: Call) -> JSON:
    body = call.body(bodies.create(LOAD_BALANCERS), "loadbalancer")
    below, _ = read_children(body, named=True)
    return await created(call, body, New(id=LoadBalancerId(new_id()), below=below))


class New(Struct, frozen=True, kw_only=True):
    """A load balancer that is to be. `given`: its ids and those below it are of elsewhere."""

    id: LoadBalancerId
    below: Mapping[str, Any]
    given: bool = False


async def created(call: Call, body: Body, new: New) -> JSON:
    """The answer, once it is stored; on an exception its VIPs are given back."""
    choice = await choose(call, body)
    owner = call.owner(body.said("project_id") or body.said("tenant_id") or None)
    provider = call.site.providers.get(choice.provider)
    vips: list[Vip] = []
    try:
        for wish in read_vips(body, new.id):
            # The additional ones are where the first is.
            place = {"network_id": vips[0].network_id} if vips else {}
            asked = replace(
                wish,
                is_dry_run=call.is_dry_run,
                project_id=owner or "",
                token=call.caller.token,
                halves=choice.sizing.addresses,
                front_end=choice.sizing.front_end,
                floats=choice.sizing.floats,
                **place,
            )
            if wish.address is not None:
                asked = replace(asked, address=canonical(wish.address))
            vip = await provider.allocate_vip(asked)
            vips.append(replace(vip, address=wish.address or vip.address))
            choice.check(vip)
        tree = LoadBalancer(
            id=new.id,
            project_id=owner,
            cluster_id=ClusterId(new_id()),
            vip=vips[0],
            additional_vips=tuple(vips[1:]),
            provider=choice.provider,
            flavor_id=choice.flavor_id,
            availability_zone=choice.availability_zone,
            **new.below,
            **_own(given(body, LoadBalancer)),
        )
        stored = await _stored(call, tree, choice, given=new.given)
    except BaseException:
        for vip in vips:
            await provider.release_vip(vip)
        raise
    if not any(new.below.values()):
        return {"loadbalancer": show(LOAD_BALANCERS, record_of(stored, LOAD_BALANCERS, new.id))}
    async with call.site.database.read() as connection:
        return {"loadbalancer": await full_tree(connection, new.id)}


async def _stored(call: Call, tree: LoadBalancer, choice: Choice, *, given: bool) -> wishes.Stored:
    """Once its provider has nothing against its members and its ports."""
    providers, beside = call.site.providers, {vip.front_subnet_id for vip in tree.vips}
    await providers.check_members(choice.provider, tree.members, beside, token=call.caller.token)
    check_free(None, tree, await providers.taken(choice.provider, tree.vips))
    terms = wishes.Terms(
        size=choice.sizing, defaults=call.site.quotas, context=call.context, given=given
    )
    return await wishes.create(call.site.database, tree, providers, terms=terms)


async def update_load_balancer(call: Call) -> JSON:
    body = call.body(bodies.change(LOAD_BALANCERS), "loadbalancer")
    root_id = call.id("load_balancer_id")
    check_said(body)
    another = await reflavored(call, root_id, body)
    async with call.editing(LOAD_BALANCERS, root_id) as edit:
        vip = replace(edit.tree.vip, **vip_changes(body))
        edit.tree = replace(edit.tree, vip=vip, **_changed(body))
        if another is not None:
            another.change(edit)
    return await pages.one(call, LOAD_BALANCERS, root_id, "loadbalancer")


async def delete_load_balancer(call: Call) -> JSON:
    root_id = call.id("load_balancer_id")
    async with call.editing(LOAD_BALANCERS, root_id) as edit:
        if edit.tree.deletion_protection:
            raise Conflict(
                f"Load Balancer {root_id} is protected from deletion; "
                "set deletion_protection to false first"
            )
        if not call.flag("cascade") and (edit.tree.listeners or edit.tree.pools):
            raise Invalid(f"Cannot delete Load Balancer {root_id} - it has children")
        edit.delete()


async def show_load_balancer_stats(call: Call) -> JSON:
    root_id = call.id("load_balancer_id")
    await call.check(LOAD_BALANCERS, root_id)
    async with call.site.database.read() as connection:
        return {"stats": await records.statistics(connection, LOAD_BALANCERS, root_id)}


async def show_statuses(call: Call) -> JSON:
    root = await call.record(LOAD_BALANCERS, call.id("load_balancer_id"))
    async with call.site.database.read() as connection:
        return {"statuses": {"loadbalancer": await status_tree(connection, root)}}


def _changed(body: Body) -> dict[str, Any]:
    """All but the flavor, which takes more than to be written."""
    found = changed(body, LoadBalancer)
    found.pop("flavor_id", None)
    return found


def vip_changes(body: Body) -> dict[str, Any]:
    """What is said of the VIP, null as its default; where it is cannot be changed, and null says
    nothing of it."""
    said = set_fields(body)
    own = {n: one for n, one in described(LoadBalancer).items() if one.within == "vip"}
    return {
        one.field: plain(said[name]) if said[name] is not None else one.default
        for name, one in own.items()
        if name in said and not (said[name] is None and one.required)
    }


def read_vips(body: Body, root_id: LoadBalancerId) -> list[VipWish]:
    """The VIP first, then the additional ones."""
    more = [
        VipWish(
            load_balancer_id=root_id,
            number=number,
            address=_address("ip_address", vip.ip_address),
            port_id=PortId(str(vip.port_id)) if vip.port_id else None,
            subnet_id=SubnetId(str(vip.subnet_id)),
        )
        for number, vip in enumerate(body.said("additional_vips") or (), start=1)
    ]
    return [_read_vip(body, root_id), *more]


def _read_vip(body: Body, root_id: LoadBalancerId) -> VipWish:
    ids = {name: body.said_id(f"vip_{name}") for name in _VIP_PLACES}
    if not any(ids[n] for n in ("port_id", "network_id", "subnet_id")):
        raise Invalid(
            "VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.", field="vip"
        )
    return VipWish(
        load_balancer_id=root_id,
        address=_address("vip_address", body.said("vip_address")),
        port_id=PortId(ids["port_id"]) if ids["port_id"] else None,
        network_id=NetworkId(ids["network_id"]) if ids["network_id"] else None,
        subnet_id=SubnetId(ids["subnet_id"]) if ids["subnet_id"] else None,
        qos_policy_id=QosPolicyId(ids["qos_policy_id"]) if ids["qos_policy_id"] else None,
        sg_ids=tuple(SecurityGroupId(str(group)) for group in body.said("vip_sg_ids") or ()),
    )


def _address(field: str, text: str | UnsetType | None) -> str | None:
    if not text:
        return None
    check_address(field, text)
    return text


def _own(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in fields if name in _OWN}


_VIP_PLACES = ("port_id", "network_id", "subnet_id", "qos_policy_id")
# What is not settled with the provider, the flavor, the zone and the VIP.
_OWN = frozenset(
    name
    for name, one in described(LoadBalancer).items()
    if not (one.about.chosen or one.within or name == "additional_vips")
)

_NOUN: Final = TreeNoun(
    noun=LOAD_BALANCERS,
    list=Verb("List load balancers"),
    create=Verb(
        "Create a load balancer, alone or with its whole tree",
        {"vip_subnet_id": SAMPLE_ID, "name": "web"},
    ),
    show=Verb("Show a load balancer"),
    update=Verb("Change a load balancer", {"description": "the shop"}),
    delete=Verb("Delete a load balancer; with cascade, all that is under it"),
    handlers={
        "create": create_load_balancer,
        "update": update_load_balancer,
        "delete": delete_load_balancer,
    },
    more={
        "create": {"answers": whole(LOAD_BALANCERS), "guarded": ("vip_sg_ids",)},
        "update": {"guarded": ("vip_sg_ids",)},
        "delete": {"query": ("cascade",)},
    },
)
ROOT_PATH: Final = wire(LOAD_BALANCERS).object_path
ROUTES = [
    *tree_routes(_NOUN),
    Route(
        method="GET",
        path=ROOT_PATH + "/stats",
        handler=show_load_balancer_stats,
        answers=wrapped("stats", Statistics),
        rule="os_load-balancer_api:loadbalancer:get_stats",
        summary="Show a load balancer's counters",
    ),
    *(
        Route(
            method="GET",
            path=f"{ROOT_PATH}/{word}",
            handler=show_statuses,
            answers=wrapped("statuses", LoadBalancerStatuses),
            rule="os_load-balancer_api:loadbalancer:get_status",
            summary="Show the statuses of a whole tree",
        )
        for word in ("status", "statuses")
    ),
]

# SPDX-License-Identifier: Apache-2.0
"""A load balancer's whole tree as one document: read it, or say how it shall be.

What is said becomes one change of one generation: the objects that are meant keep their ids, those
that are not named go, and what is left out of an object has the default of its creation. Where the
load balancer is cannot be changed; what is said of that must hold already. Its flavor stays where
it is left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import Body, given
from colonnade.api.resources import bodies
from colonnade.api.resources.full_trees import full_tree
from colonnade.api.resources.objects import whole, wrapped
from colonnade.api.user.load_balancers import ROOT_PATH, vip_changes
from colonnade.api.user.members import check_address
from colonnade.api.user.nested import read_children
from colonnade.api.user.reflavoring import reflavored
from colonnade.domain.addresses import canonical
from colonnade.domain.attributes import described
from colonnade.domain.errors import Invalid
from colonnade.domain.matching import matched
from colonnade.domain.node import Node
from colonnade.domain.once import once_each
from colonnade.domain.shape import LOAD_BALANCERS, Noun
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.tables import load_trees, own_fields

_ATTRIBUTES: Final = described(LoadBalancer)
# What the endpoint chose where it was not said stays where it is left out.
_SETTABLE: Final = tuple(
    n for n, one in _ATTRIBUTES.items() if not (one.about.fixed or one.about.chosen or one.within)
)


async def put_tree(call: Call) -> JSON:
    body = call.body(bodies.wished(LOAD_BALANCERS), "loadbalancer")
    root_id = call.id("load_balancer_id")

    @once_each
    def after(tree: LoadBalancer) -> LoadBalancer:
        _check_place(body, tree)
        return wished(body, tree)

    await call.check_members(LOAD_BALANCERS, root_id, lambda tree: after(tree).members)
    another = await reflavored(call, root_id, body)
    async with call.editing(LOAD_BALANCERS, root_id) as edit:
        edit.tree = after(edit.tree)
        if another is not None:
            another.change(edit)
    async with call.site.database.read() as connection:
        return {"loadbalancer": await full_tree(connection, root_id)}


async def show_tree(call: Call) -> JSON:
    """The document that `put_tree` would take to change nothing."""
    record = await call.record(LOAD_BALANCERS, call.id("load_balancer_id"))
    async with call.site.database.read() as connection:
        (tree,) = await load_trees(connection, [record.value])
    return {"loadbalancer": exported(tree)}


def wished(body: Body, tree: LoadBalancer) -> LoadBalancer:
    """The tree as the body wants it, with the ids of what is there. Pure."""
    below, given_ids = read_children(body, named=False)
    return replace(tree, **matched(tree, below, given_ids), **_root(body, tree))


def _root(body: Body, tree: LoadBalancer) -> dict[str, Any]:
    """Its own attributes: those that are left out have their defaults, but for the VIP's."""
    fresh = given(body, LoadBalancer)
    defaults = {field.name: field.default for field in msgspec.structs.fields(LoadBalancer)}
    found = {name: fresh.get(name, defaults[name]) for name in _SETTABLE}
    return found | {"vip": replace(tree.vip, **vip_changes(body))}


def _check_place(body: Body, tree: LoadBalancer) -> None:
    """Raises Invalid for what cannot be changed and is not so."""
    told = given(body, type(body))
    more = tuple(
        (str(vip.subnet_id), _address("ip_address", vip.ip_address) if vip.ip_address else None)
        for vip in body.said("additional_vips") or ()
    )
    address = told.get("vip_address")
    if address:
        told["vip_address"] = _address("vip_address", address)
    for name, is_so in _fixed(tree):
        wire = "id" if name == "own_id" else name
        if told.get(name) and told[name] != is_so:
            raise Invalid(f"{wire} cannot be changed; it is {is_so}", field=wire)
    if not body.said("additional_vips"):
        return
    there = [(vip.subnet_id, canonical(vip.address)) for vip in tree.additional_vips]
    same = len(more) == len(there) and all(
        subnet == old and where in (None, was)
        for (subnet, where), (old, was) in zip(more, there, strict=True)
    )
    if not same:
        raise Invalid("additional_vips cannot be changed", field="additional_vips")


def _fixed(tree: LoadBalancer) -> Iterator[tuple[str, Any]]:
    """What cannot be changed, as it is; `additional_vips` are compared apart."""
    yield "own_id", tree.id
    yield "tenant_id", tree.project_id
    for name, one in _ATTRIBUTES.items():
        if one.about.fixed and not one.has_parts:
            value = getattr(tree.vip if one.within else tree, one.field)
            yield name, canonical(value) if one.about.is_address else value


def _address(field: str, text: str) -> str:
    check_address(field, text)
    return canonical(text)


def exported(tree: LoadBalancer) -> dict[str, Any]:
    """As a body, without what is as by default."""
    names = ("id", "provider", "flavor_id", *_SETTABLE)
    shown = _without_defaults({name: getattr(tree, name) for name in names}, LoadBalancer)
    of_vip = {one.name: getattr(tree.vip, one.field) for one in _ATTRIBUTES.values() if one.within}
    shown |= {name: value for name, value in of_vip.items() if value}
    return shown | _exported_below(LOAD_BALANCERS, tree)


def _exported_below(table: Noun, node: Node) -> dict[str, Any]:
    """The words of what is below the node, with it. A list is there even when it is empty."""
    found: dict[str, Any] = {}
    for noun in table.below:
        children = [
            _without_defaults(own_fields(child), noun.type) | _exported_below(noun, child)
            for child in noun.of(node)
        ]
        if not noun.alone:
            found[noun.word] = children
        elif children:
            found[noun.word] = children[0]
    return found


def _without_defaults(fields: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    empty: tuple[Any, ...] = ((), {}, None)
    return {n: v for n, v in fields.items() if v != defaults[n] and v not in empty}


RULE: Final = "os_load-balancer_api:loadbalancer:"
ROUTES = [
    Route(
        method="GET",
        path=ROOT_PATH + "/tree",
        handler=show_tree,
        answers=wrapped("loadbalancer", dict[str, Any]),
        rule=RULE + "get_one",
        summary="Show the whole tree as a document that can be put back",
    ),
    Route(
        method="PUT",
        path=ROOT_PATH + "/tree",
        handler=put_tree,
        rule=RULE + "put_tree",
        answers=wrapped("loadbalancer", whole(LOAD_BALANCERS)),
        example={"name": "web", "listeners": [], "pools": []},
        guarded=("vip_sg_ids",),
        takes=bodies.wished(LOAD_BALANCERS),
        wrapper="loadbalancer",
        summary="Replace the whole tree, with as few changes as possible",
    ),
]

# SPDX-License-Identifier: Apache-2.0
"""Whether a translated load balancer could be taken over, as far as it says so itself.

All that is wrong is found at once, each with its object: an endpoint would name the first alone.
The rules are the API's and the provider's own. Pure; what only the endpoint knows (subnets,
secrets, quotas) it says when the import is tried there.
"""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from colonnade.api.http.decoding import Body, read_body
from colonnade.api.resources import bodies
from colonnade.api.user.nested import NestedObjects, read_children
from colonnade.cli.octavia.findings import Finding, blocks, warns
from colonnade.cli.octavia.translating import Document, below, title
from colonnade.domain.errors import Refused
from colonnade.domain.ids import (
    ClusterId,
    LoadBalancerId,
    NetworkId,
    PortId,
    ProjectId,
    SecurityGroupId,
    SubnetId,
    is_id,
)
from colonnade.domain.matching import adopted
from colonnade.domain.shape import BELOW, LOAD_BALANCERS, Noun
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.protocol import Severity

SERVED = frozenset({"amphora", "octavia"})  # the providers whose objections are known here
_CURE = "change it there first"
_LISTED = frozenset(noun.word for noun in BELOW if not noun.alone)
_ALONE = frozenset(noun.word for noun in BELOW if noun.alone)


def checked(document: Document) -> list[Finding]:
    """What refuses it, of each object the first reason, and what will be incomplete."""
    found = list(_each(LOAD_BALANCERS, document))
    if found:
        return found
    try:
        tree = _tree(document)
    except Refused as error:
        return [blocks(title(LOAD_BALANCERS, document), error.public, _CURE)]
    if document.get("provider") not in SERVED:
        return []
    places = dict(_places(LOAD_BALANCERS, document))
    return [
        (blocks if one.severity is Severity.INCOMPATIBLE else warns)(
            places.get(_object(one.path), places[tree.id]),
            one.reason,
            _CURE if one.severity is Severity.INCOMPATIBLE else "",
            attribute=_attribute(one.path),
        )
        for one in objections(tree)
    ]


def _each(noun: Noun, document: Document) -> Iterator[Finding]:
    """Each object alone, without what is below it."""
    words = {child.word for child in noun.below}
    own = {name: value for name, value in document.items() if name not in words}
    try:
        body: Body = read_body(_encoded(noun, own), bodies.wished(noun), noun.wrapper)
        if noun is not LOAD_BALANCERS:
            NestedObjects().read(noun, body)
    except Refused as error:
        field = getattr(error, "field", "") or ""
        yield blocks(title(noun, document), error.public, _CURE, attribute=field)
    for child in noun.below:
        for one in below(child, document):
            yield from _each(child, one)


def _tree(document: Document) -> LoadBalancer:
    """As it would be. Raises Refused for what does not go together."""
    body = read_body(
        _encoded(LOAD_BALANCERS, document), bodies.wished(LOAD_BALANCERS), "loadbalancer"
    )
    children, given = read_children(body, named=False)
    vip = Vip(
        address=str(document.get("vip_address")),
        port_id=PortId(str(document.get("vip_port_id"))),
        subnet_id=SubnetId(str(document.get("vip_subnet_id"))),
        network_id=NetworkId(str(document.get("vip_network_id"))),
        sg_ids=tuple(SecurityGroupId(one) for one in document.get("vip_sg_ids", ())),
    )
    more = document.get("additional_vips", ())
    return LoadBalancer(
        id=LoadBalancerId(str(document["id"])),
        project_id=ProjectId(str(document.get("project_id"))),
        cluster_id=ClusterId(str(document["id"])),
        vip=vip,
        additional_vips=tuple(
            replace(vip, address=one["ip_address"], subnet_id=SubnetId(one["subnet_id"]), sg_ids=())
            for one in more
        ),
        provider=str(document.get("provider")),
        **adopted(children, given),
    )


def _encoded(noun: Noun, document: Document) -> bytes:
    return msgspec.json.encode({noun.wrapper: document})


def _places(noun: Noun, document: Document) -> Iterator[tuple[str, str]]:
    """Each object's title by its id, and a pool's monitor by its pool's."""
    yield str(document["id"]), title(noun, document)
    for child in noun.below:
        for one in below(child, document):
            yield from _places(child, one)
            if child.alone:
                yield f"{document['id']}/{child.word}", title(child, one)


def _object(path: str) -> str:
    """What `_places` calls the object that the path of an objection leads to; "" for the root."""
    steps = path.split("/")
    ids = [at for at, step in enumerate(steps) if at and steps[at - 1] in _LISTED and step]
    if not ids:
        return ""
    last, *follows = steps[ids[-1] :]
    alone = next((word for word in follows if word in _ALONE), "")
    return f"{last}/{alone}" if alone else last


def _attribute(path: str) -> str:
    """What the path ends in, where that is no object."""
    last = path.rpartition("/")[2]
    return "" if last in _LISTED | _ALONE or is_id(last) else last

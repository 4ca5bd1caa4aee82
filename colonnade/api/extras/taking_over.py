# SPDX-License-Identifier: Apache-2.0
"""A load balancer of another endpoint of the same contract, taken over with all its ids.

It is a creation like any other, asked for by an operator: what users may not say is said here, the
id of each object. An id that is in use is refused. The VIP's port is one that somebody else made,
so it is never deleted here.
"""

from typing import Final

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.resources import bodies
from colonnade.api.resources.objects import SAMPLE_ID, whole, wrapped
from colonnade.api.user.load_balancers import New, created
from colonnade.api.user.nested import read_children
from colonnade.domain.errors import Invalid
from colonnade.domain.ids import LoadBalancerId
from colonnade.domain.matching import adopted
from colonnade.domain.shape import LOAD_BALANCERS

IMPORTS_PATH: Final = "/v2/octavia/imports"


async def import_load_balancer(call: Call) -> JSON:
    body = call.body(bodies.wished(LOAD_BALANCERS), "loadbalancer")
    root_id = body.said_id("own_id")
    if root_id is None:
        raise Invalid("id is missing: the one that it has elsewhere", field="id")
    below, given = read_children(body, named=False)
    new = New(id=LoadBalancerId(root_id), below=adopted(below, given), given=True)
    return await created(call, body, new)


ROUTES: Final = [
    Route(
        method="POST",
        path=IMPORTS_PATH,
        handler=import_load_balancer,
        success=201,
        rule="os_load-balancer_api:loadbalancer:post_import",
        vouched=True,
        takes=bodies.wished(LOAD_BALANCERS),
        wrapper="loadbalancer",
        answers=wrapped("loadbalancer", whole(LOAD_BALANCERS)),
        example={"id": SAMPLE_ID, "vip_port_id": SAMPLE_ID, "listeners": [], "pools": []},
        summary="Take over a load balancer of another endpoint, with the ids that it has there",
    ),
]

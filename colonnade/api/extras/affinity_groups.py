# SPDX-License-Identifier: Apache-2.0
"""Affinity groups, as the user API sees them: load balancers to be kept together, or apart.

An extra of ours. A load balancer names its group as it is made, and stays in it; the policy of a
group stays too.
"""

from typing import Final

from msgspec import UNSET, Struct
from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import changed, given
from colonnade.api.http.lists import Kind, Shown, listed, trimmed
from colonnade.api.resources import objects
from colonnade.api.resources.bodies import OptProject, OptText
from colonnade.api.resources.past_objects import AffinityGroupObject
from colonnade.api.resources.shown import ids, time
from colonnade.domain.ids import new_id
from colonnade.store.extras import affinity
from colonnade.store.extras.affinity import AffinityGroup, AffinityPolicy, Kept


class AffinityGroupUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: OptText = UNSET
    description: OptText = UNSET


class AffinityGroupCreate(AffinityGroupUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    policy: AffinityPolicy


async def create_affinity_group(call: Call) -> JSON:
    body = call.body(AffinityGroupCreate, "affinitygroup")
    fields = given(body, AffinityGroup)
    fields["project_id"] = call.owner(body.project_id or body.tenant_id or None)
    group = AffinityGroup(id=new_id(), **fields)
    async with call.site.database.transaction() as connection:
        await affinity.insert(connection, group)
        kept = await affinity.get(connection, group.id, project=None)
    return {"affinitygroup": trimmed(call, show(kept))}


async def list_affinity_groups(call: Call) -> JSON:
    return await listed(call, KIND, "affinitygroups")


async def show_affinity_group(call: Call) -> JSON:
    async with call.site.database.read() as connection:
        kept = await affinity.get(connection, call.id("affinity_group_id"), project=call.project)
    return {"affinitygroup": trimmed(call, show(kept))}


async def update_affinity_group(call: Call) -> JSON:
    body = call.body(AffinityGroupUpdate, "affinitygroup")
    group_id = call.id("affinity_group_id")
    async with call.site.database.transaction() as connection:
        kept = await affinity.get(connection, group_id, project=call.project)
        await affinity.update(connection, replace(kept.group, **changed(body, AffinityGroup)))
        kept = await affinity.get(connection, group_id, project=None)
    return {"affinitygroup": trimmed(call, show(kept))}


async def delete_affinity_group(call: Call) -> JSON:
    group_id = call.id("affinity_group_id")
    async with call.site.database.transaction() as connection:
        await affinity.get(connection, group_id, project=call.project)
        await affinity.delete(connection, group_id)


def show(kept: Kept) -> Shown:
    group = kept.group
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "policy": group.policy.value,
        "project_id": group.project_id,
        "tenant_id": group.project_id,
        "loadbalancers": ids(kept.load_balancer_ids),
        "created_at": time(kept.created_at),
        "updated_at": time(kept.updated_at),
    }


KIND: Final = Kind(
    source=affinity.SOURCE,
    find=affinity.find,
    key=lambda kept: kept.group.id,
    show=show,
)
_ONE: Final = objects.wrapped("affinitygroup", AffinityGroupObject)
GROUPS_PATH: Final = "/v2/lbaas/affinitygroups"
GROUP_PATH: Final = GROUPS_PATH + "/{affinity_group_id:str}"
RULE: Final = "os_load-balancer_api:affinity-group:"
ROUTES = [
    Route(
        method="GET",
        path=GROUPS_PATH,
        handler=list_affinity_groups,
        answers=objects.listed("affinitygroups", AffinityGroupObject),
        rule=RULE + "get_all",
        summary="List affinity groups",
    ),
    Route(
        method="POST",
        path=GROUPS_PATH,
        handler=create_affinity_group,
        rule=RULE + "post",
        takes=AffinityGroupCreate,
        wrapper="affinitygroup",
        success=201,
        answers=_ONE,
        example={"name": "apart", "policy": "soft-apolocation"},
        summary="Make a group of load balancers to be kept together, or apart",
    ),
    Route(
        method="GET",
        path=GROUP_PATH,
        handler=show_affinity_group,
        answers=_ONE,
        rule=RULE + "get_one",
        summary="Show an affinity group",
    ),
    Route(
        method="PUT",
        path=GROUP_PATH,
        handler=update_affinity_group,
        answers=_ONE,
        example={"name": "apart"},
        rule=RULE + "put",
        takes=AffinityGroupUpdate,
        wrapper="affinitygroup",
        summary="Change an affinity group's name or description",
    ),
    Route(
        method="DELETE",
        path=GROUP_PATH,
        handler=delete_affinity_group,
        rule=RULE + "delete",
        success=204,
        summary="Delete an affinity group that no load balancer is in",
    ),
]

# SPDX-License-Identifier: Apache-2.0
"""Quotas: how much each project may have, as the wire contract spells it.

Each of two words has a deprecated twin, which is accepted and answered. A project's quota lies
under its id; "defaults" is read like an id that no project has. Who may change one is in the
route table.
"""

from typing import Annotated, Any, Final, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import set_fields
from colonnade.api.http.lists import Kind, Shown, listed, trimmed
from colonnade.api.resources.objects import wrapped
from colonnade.api.resources.resource import Act, Wire, resource
from colonnade.domain.errors import POLICY, Forbidden, NotFound
from colonnade.domain.ids import ProjectId
from colonnade.domain.limits import PROJECT_ID_MAX, QUOTA_MAX
from colonnade.runtime.config import Quotas
from colonnade.store.catalogue import quotas
from colonnade.store.catalogue.quotas import Quota

TWINS: Final = {"load_balancer": "loadbalancer", "health_monitor": "healthmonitor"}

Limit: TypeAlias = Annotated[int, Meta(ge=-1, le=QUOTA_MAX)] | UnsetType | None


class QuotaUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    loadbalancer: Limit = UNSET
    load_balancer: Limit = UNSET
    listener: Limit = UNSET
    pool: Limit = UNSET
    member: Limit = UNSET
    healthmonitor: Limit = UNSET
    health_monitor: Limit = UNSET
    l7policy: Limit = UNSET
    l7rule: Limit = UNSET


class QuotaObject(Struct, frozen=True, kw_only=True):
    """As it is answered: each limit, -1 for any number, under old words and new."""

    project_id: str
    tenant_id: str
    loadbalancer: int
    load_balancer: int
    listener: int
    pool: int
    member: int
    healthmonitor: int
    health_monitor: int
    l7policy: int
    l7rule: int


async def list_quotas(call: Call) -> JSON:
    return await listed(call, _kind(call.site.quotas), "quotas")


async def show_quota(call: Call) -> JSON:
    return await _shown(call, _project(call))


async def show_default_quota(call: Call) -> JSON:
    quota = Quota(project_id=_project(call), limits=call.site.quotas)
    return {"quota": trimmed(call, show(quota))}


async def update_quota(call: Call) -> JSON:
    project_id = _project(call)
    body = set_fields(call.body(QuotaUpdate, "quota"))
    values: dict[str, Any] = {TWINS[name]: body[name] for name in body if name in TWINS}
    values |= {name: body[name] for name in body if name not in TWINS}
    async with call.site.database.transaction() as connection:
        await quotas.change(connection, project_id, values)
    return await _shown(call, project_id)


async def reset_quota(call: Call) -> JSON:
    async with call.site.database.transaction() as connection:
        await quotas.reset(connection, _project(call))


def show(quota: Quota) -> Shown:
    limits = {name: getattr(quota.limits, name) for name in quotas.NAMES}
    twins = {twin: limits[name] for twin, name in TWINS.items()}
    owner = {"project_id": quota.project_id, "tenant_id": quota.project_id}
    return limits | twins | owner


async def _shown(call: Call, project_id: ProjectId) -> JSON:
    async with call.site.database.read() as connection:
        quota = await quotas.get(connection, call.site.quotas, project_id)
    return {"quota": trimmed(call, show(quota))}


def _project(call: Call) -> ProjectId:
    """The project in the path: the caller's own, or any for who sees all."""
    project_id = ProjectId(call.places["project_id"])
    if len(project_id) > PROJECT_ID_MAX or "\0" in project_id:
        raise NotFound(f"Project {project_id[:PROJECT_ID_MAX]} not found.")
    if call.project not in (None, project_id):
        raise Forbidden(POLICY)
    return project_id


def _kind(defaults: Quotas) -> Kind:
    return Kind(
        source=quotas.source(defaults),
        find=lambda connection, wanted: quotas.find(connection, defaults, wanted),
        key=lambda quota: quota.project_id,
        show=show,
        key_name="project_id",
    )


_WIRE: Final = Wire(
    steps="quotas", place="project_id", one="quota", many="quotas", rule="quota", object=QuotaObject
)
ROUTES = [
    *resource(
        _WIRE,
        list=Act(handler=list_quotas, summary="List the quotas of projects that have their own"),
        show=Act(handler=show_quota, summary="Show a project's quota"),
        update=Act(
            handler=update_quota,
            example={"loadbalancer": 10, "member": -1},
            takes=QuotaUpdate,
            success=202,
            summary="Change a project's quota; what is not named stays",
        ),
        delete=Act(
            handler=reset_quota, success=202, summary="Reset a project's quota to the default"
        ),
    ),
    Route(
        method="GET",
        path=_WIRE.object_path + "/default",
        handler=show_default_quota,
        answers=wrapped("quota", QuotaObject),
        summary="Show the quota of projects that have none of their own",
        query=("fields",),
        rule="os_load-balancer_api:quota:get_defaults",
    ),
]

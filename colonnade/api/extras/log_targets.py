# SPDX-License-Identifier: Apache-2.0
"""Log targets: where a project's access logs go. An extra of ours; `access_log` of a listener or
load balancer names one.

Credentials come in and never go out: they are sealed before they are stored, and an answer says
only whether there are any. `shipping` is what the amphorae say of each listener's lines.
"""

from typing import Annotated, Final, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import encode
from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import changed, given
from colonnade.api.http.lists import Kind, Shown, listed, trimmed
from colonnade.api.resources import objects
from colonnade.api.resources.bodies import OptProject, OptText
from colonnade.api.resources.objects import Id, Time
from colonnade.api.resources.shown import time
from colonnade.domain.errors import Incompatible
from colonnade.domain.ids import new_id
from colonnade.domain.limits import CA_CERTIFICATE_MAX, URL_MAX
from colonnade.domain.log_targets import LogTarget, TargetType
from colonnade.store.extras import log_targets
from colonnade.store.extras.log_targets import Kept, Shipping

_Url: TypeAlias = Annotated[str, Meta(max_length=URL_MAX)]
_Pem: TypeAlias = Annotated[str, Meta(max_length=CA_CERTIFICATE_MAX)]


class LogTargetUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: OptText = UNSET
    description: OptText = UNSET
    url: _Url | UnsetType = UNSET
    bucket: OptText = UNSET
    prefix: OptText = UNSET
    region: OptText = UNSET
    ca_certificate: _Pem | UnsetType | None = UNSET
    credentials: dict[str, str] | UnsetType | None = UNSET


class LogTargetCreate(LogTargetUpdate, frozen=True, kw_only=True):
    project_id: OptProject = UNSET
    tenant_id: OptProject = UNSET
    type: TargetType
    url: _Url


class LogTargetObject(Struct, forbid_unknown_fields=True):
    """What is answered."""

    id: Id
    name: str
    description: str
    type: TargetType
    url: str
    bucket: str | None
    prefix: str
    region: str | None
    ca_certificate: str | None
    has_credentials: bool
    project_id: str
    tenant_id: str
    created_at: Time
    updated_at: Time | None
    shipping: list[Shipping]


async def create_log_target(call: Call) -> JSON:
    body = call.body(LogTargetCreate, "logtarget")
    target = LogTarget(id=new_id(), **given(body, LogTarget))
    credentials = body.credentials or {}
    target.check_credentials(credentials)
    asked = body.project_id or body.tenant_id
    async with call.site.database.transaction() as connection:
        await log_targets.insert(
            connection, target, call.owner(asked or None), _sealed(call, target.id, credentials)
        )
        kept = await log_targets.get(connection, target.id, project=None)
    return {"logtarget": trimmed(call, show(kept))}


async def list_log_targets(call: Call) -> JSON:
    return await listed(call, KIND, "logtargets")


async def show_log_target(call: Call) -> JSON:
    async with call.site.database.read() as connection:
        kept = await log_targets.get(connection, call.id("log_target_id"), project=call.project)
    return {"logtarget": trimmed(call, show(kept))}


async def update_log_target(call: Call) -> JSON:
    body = call.body(LogTargetUpdate, "logtarget")
    target_id = call.id("log_target_id")
    async with call.site.database.transaction() as connection:
        kept = await log_targets.get(connection, target_id, project=call.project)
        target = replace(kept.target, **changed(body, LogTarget))
        sealed = kept.sealed
        if body.credentials is not UNSET:
            target.check_credentials(body.credentials or {})
            sealed = _sealed(call, target_id, body.credentials or {})
        elif target.url != kept.target.url and sealed is not None:
            # Who may change the place, but does not know the secret, must not have it sent there.
            target.check_credentials({})
            sealed = None
        await log_targets.update(connection, target, sealed)
        kept = await log_targets.get(connection, target_id, project=None)
    return {"logtarget": trimmed(call, show(kept))}


async def delete_log_target(call: Call) -> JSON:
    target_id = call.id("log_target_id")
    async with call.site.database.transaction() as connection:
        await log_targets.get(connection, target_id, project=call.project)
        await log_targets.delete(connection, target_id)


def show(kept: Kept) -> Shown:
    target = kept.target
    return {
        "id": target.id,
        "name": target.name,
        "description": target.description,
        "type": target.type.value,
        "url": target.url,
        "bucket": target.bucket or None,
        "prefix": target.prefix,
        "region": target.region if target.type is TargetType.S3 else None,
        "ca_certificate": target.ca_certificate or None,
        "has_credentials": kept.sealed is not None,
        "project_id": kept.project_id,
        "tenant_id": kept.project_id,
        "created_at": time(kept.created_at),
        "updated_at": time(kept.updated_at),
        "shipping": kept.shipping,
    }


def _sealed(call: Call, target_id: str, credentials: dict[str, str]) -> bytes | None:
    if not credentials:
        return None
    if call.site.seal is None:
        raise Incompatible("This service keeps no secrets: it has no master key.")
    return call.site.seal.seal(encode(credentials), target_id)


KIND: Final = Kind(
    source=log_targets.SOURCE,
    find=log_targets.find,
    key=lambda kept: kept.target.id,
    show=show,
)
_ONE: Final = objects.wrapped("logtarget", LogTargetObject)
_EXAMPLE: Final = {
    "name": "audit",
    "type": "S3",
    "url": "https://s3.eu-west-1.amazonaws.com",
    "bucket": "access-logs",
    "region": "eu-west-1",
    "credentials": {"access_key": "AKIA...", "secret_key": "..."},
}
TARGETS_PATH = "/v2/lbaas/logtargets"
TARGET_PATH = TARGETS_PATH + "/{log_target_id:str}"
_RULE = "os_load-balancer_api:logtarget:"
ROUTES = [
    Route(
        method="GET",
        path=TARGETS_PATH,
        handler=list_log_targets,
        answers=objects.listed("logtargets", LogTargetObject),
        summary="List log targets",
        rule=_RULE + "get_all",
    ),
    Route(
        method="POST",
        path=TARGETS_PATH,
        handler=create_log_target,
        takes=LogTargetCreate,
        wrapper="logtarget",
        success=201,
        answers=_ONE,
        example=_EXAMPLE,
        summary="Name a place for access logs",
        rule=_RULE + "post",
    ),
    Route(
        method="GET",
        path=TARGET_PATH,
        handler=show_log_target,
        answers=_ONE,
        summary="Show a log target, and what was sent there",
        query=("fields",),
        rule=_RULE + "get_one",
    ),
    Route(
        method="PUT",
        path=TARGET_PATH,
        handler=update_log_target,
        takes=LogTargetUpdate,
        wrapper="logtarget",
        answers=_ONE,
        example={"description": "for the auditors"},
        summary="Change a log target; its type stays",
        rule=_RULE + "put",
    ),
    Route(
        method="DELETE",
        path=TARGET_PATH,
        handler=delete_log_target,
        success=204,
        summary="Forget a log target that nothing logs to",
        rule=_RULE + "delete",
    ),
]

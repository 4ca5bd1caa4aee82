# SPDX-License-Identifier: Apache-2.0
"""Secrets: certificates with their keys, CAs and CRLs, for who has no key service. An extra of
ours; `*_container_ref` of listeners and pools name one by its id or its URL.

A certificate is uploaded, or it has host names: then the system itself gets it from an issuer and
renews it, and a self-signed one stands in until then. What is uploaded comes in and never goes out,
not even in the text that refuses it: answers tell what any client of a listener could see.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, replace

from colonnade.api.http.call import JSON, Call
from colonnade.api.http.decoding import set_fields
from colonnade.api.http.lists import Kind, Shown, listed, trimmed
from colonnade.api.resources.derived import Project
from colonnade.api.resources.resource import Act, Wire, resource
from colonnade.domain.errors import Incompatible, Invalid, require
from colonnade.domain.ids import new_id
from colonnade.domain.limits import TEXT_MAX
from colonnade.domain.ordering import UPLOADED, Order, OrderStatus, read_host_names, sooner_at
from colonnade.domain.secrets import Secret, SecretId, SecretType
from colonnade.drivers.secrets.database import Envelope
from colonnade.drivers.secrets.material import Material, Upload, read_material
from colonnade.drivers.secrets.ordered import stand_in
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.times import time
from colonnade.store.secrets import orders, references, secrets

B = TypeVar("B", bound=Struct)
_Name: TypeAlias = Annotated[str, Meta(max_length=TEXT_MAX)] | UnsetType | None
_Content: TypeAlias = str | UnsetType | None
_HostNames: TypeAlias = Annotated[list[str], Meta(max_length=100)] | UnsetType | None


class SecretUpdate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Name = UNSET
    pem: _Content = UNSET
    pkcs12: _Content = UNSET
    passphrase: _Content = UNSET
    host_names: _HostNames = UNSET  # in place of a content: the certificate is ordered

    def __repr__(self) -> str:
        return "Secret(***)"


class SecretCreate(SecretUpdate, frozen=True, kw_only=True):
    type: SecretType = SecretType.CERTIFICATE
    project_id: Project | UnsetType | None = UNSET
    tenant_id: Project | UnsetType | None = UNSET


class SecretObject(Struct, forbid_unknown_fields=True, kw_only=True):
    """As it is answered, for the OpenAPI document."""

    id: str
    secret_ref: str
    name: str
    type: SecretType
    project_id: str
    tenant_id: str
    subject: str
    subject_alt_names: list[str]
    issuer: str
    serial_number: str
    fingerprint: str
    key_type: str
    count: int
    not_before: str
    not_after: str
    expires_in: int
    expiring: bool
    host_names: list[str]
    stand_in: bool
    order_status: OrderStatus | None
    order_reason: str
    order_attempts: int
    ordered_at: str | None
    next_order_at: str | None
    created_at: str
    updated_at: str | None


async def create_secret(call: Call) -> JSON:
    body = _read(call, SecretCreate)
    order = _order(call, body, body.type)
    material = _material(body, body.type, order)
    secret = Secret(
        id=SecretId(new_id()),
        project_id=call.owner(body.project_id or body.tenant_id or None),
        type=body.type,
        name=body.name or "",
        facts=material.facts,
        order=order,
    )
    envelope = _enclosed(call, secret.id, material)
    if call.is_dry_run:
        return {"secret": trimmed(call, show(call, secret))}
    async with call.site.database.transaction() as connection:
        secret = await secrets.insert(connection, secret, envelope, material.public)
        await _have_ordered(call, connection, secret)
    return {"secret": trimmed(call, show(call, secret))}


async def list_secrets(call: Call) -> JSON:
    return await listed(call, _kind(call), "secrets")


async def show_secret(call: Call) -> JSON:
    async with call.site.database.read() as connection:
        secret = await secrets.get(connection, call.id("secret_id"), call.project)
    return {"secret": trimmed(call, show(call, secret))}


async def update_secret(call: Call) -> JSON:
    """A new content is new for all that use it: their clusters have something to serve."""
    body = _read(call, SecretUpdate)
    secret_id = call.id("secret_id")
    given = set_fields(body)
    if call.is_dry_run:
        return await _try(call, body)
    providers = call.site.providers
    async with call.site.database.transaction() as connection:
        secret = await secrets.lock(connection, secret_id, call.project)
        if "name" in given:
            secret = replace(secret, name=body.name or "")
            await secrets.rename(connection, secret_id, secret.name)
        if given.keys() - {"name"} and await _changed(call, connection, secret, body):
            found = await secrets.users(connection, secret)
            waiting = [user for user in found if not providers.settles_at_once(user.provider)]
            await references.check_users(connection, waiting)
            await secrets.wake_users(connection, secret, waiting, call.context)
        secret = await secrets.get(connection, secret_id, call.project)
    return {"secret": trimmed(call, show(call, secret))}


async def _changed(call: Call, connection: Connection, secret: Secret, body: SecretUpdate) -> bool:
    """Give it a new content, or have a certificate ordered. False: nothing that is served is
    another, as when the same is ordered once more."""
    order = _order(call, body, secret.type)
    if order.host_names and order.host_names == secret.order.host_names:
        await orders.set_next(connection, secret.id, sooner_at(secret.order, datetime.now(UTC)))
        await orders.mark(connection, secret.id)
        return False
    if order.host_names and not secret.order.stand_in:
        # What is there is better than a stand-in.
        await orders.set_order(connection, secret.id, replace(order, stand_in=False))
    else:
        material = _material(body, secret.type, order)
        changed = replace(secret, facts=material.facts, order=order)
        envelope = _enclosed(call, secret.id, material)
        await secrets.update(connection, changed, envelope, material.public)
    await _have_ordered(call, connection, replace(secret, order=order))
    return True


async def _have_ordered(call: Call, connection: Connection, secret: Secret) -> None:
    if secret.order.host_names:
        await orders.have_account(connection, call.site.sealing())
        await orders.mark(connection, secret.id)


async def _try(call: Call, body: SecretUpdate) -> JSON:
    """As it would be; nothing is kept."""
    async with call.site.database.read() as connection:
        secret = await secrets.get(connection, call.id("secret_id"), call.project)
    if set_fields(body).keys() - {"name"}:
        order = _order(call, body, secret.type)
        secret = replace(secret, facts=_material(body, secret.type, order).facts, order=order)
    return {"secret": trimmed(call, show(call, secret))}


async def delete_secret(call: Call) -> JSON:
    async with call.site.database.transaction() as connection:
        secret = await secrets.lock(connection, call.id("secret_id"), call.project)
        await secrets.delete(connection, secret)


def show(call: Call, secret: Secret) -> Shown:
    now = datetime.now(UTC)
    facts: dict[str, Any] = asdict(secret.facts)
    return {
        "id": secret.id,
        "secret_ref": f"{call.base}{_WIRE.path}/{secret.id}",
        "name": secret.name,
        "type": secret.type.value,
        "project_id": secret.project_id,
        "tenant_id": secret.project_id,
        **facts,
        "not_before": time(secret.facts.not_before),
        "not_after": time(secret.facts.not_after),
        "expires_in": max(0, int((secret.facts.not_after - now).total_seconds())),
        "expiring": secret.is_expiring(now),
        "host_names": list(secret.order.host_names),
        "stand_in": secret.order.stand_in,
        "order_status": secret.order.status,
        "order_reason": secret.order.order_reason,
        "order_attempts": secret.order.order_attempts,
        "ordered_at": time(secret.order.ordered_at),
        "next_order_at": time(secret.order.next_order_at),
        "created_at": time(secret.created_at),
        "updated_at": time(secret.updated_at),
    }


def _read(call: Call, kind: type[B]) -> B:
    """The body. What is wrong with it is said without a value of it."""
    try:
        return call.body(kind, "secret")
    except Invalid as error:
        before, found, after = error.public.partition(" Value: '")
        if not found:
            raise Invalid(_without_content(error.public)) from None
        reason = after.rpartition("'. ")[2]
        raise Invalid(f"{before} {reason}") from None


def _without_content(text: str) -> str:
    """A text of ours, unless the caller's own keys are in it, which could be anything."""
    return text if len(text) <= TEXT_MAX and "-----" not in text else "The body cannot be read."


def _order(call: Call, body: SecretUpdate, kind: SecretType) -> Order:
    """What is to be ordered. Raises Invalid, and Incompatible where nothing can be."""
    if not body.host_names:
        require("host_names", body.host_names != [], "must be at least one name")
        return UPLOADED
    given = body.pem or body.pkcs12 or body.passphrase
    require("host_names", not given, "are given without pem, pkcs12 and passphrase")
    require("host_names", kind is SecretType.CERTIFICATE, "are for a CERTIFICATE")
    if call.site.acme.lack:
        raise Incompatible(f"No certificate can be ordered here: {call.site.acme.lack}.")
    return Order(host_names=read_host_names(body.host_names), stand_in=True)


def _material(body: SecretUpdate, kind: SecretType, order: Order) -> Material:
    if order.host_names:
        own = Upload(pem=stand_in(order.host_names))
        return read_material(kind, own, datetime.now(UTC))
    upload = Upload(
        pem=body.pem or None, pkcs12=body.pkcs12 or None, passphrase=body.passphrase or None
    )
    return read_material(kind, upload, datetime.now(UTC))


def _enclosed(call: Call, secret_id: str, material: Material) -> Envelope:
    return call.site.sealing().enclose(material.pem.encode(), secret_id)


def _kind(call: Call) -> Kind:
    return Kind(
        source=secrets.OWN,
        find=secrets.find,
        key=lambda secret: str(secret.id),
        show=lambda secret: show(call, secret),
    )


_WIRE: Final = Wire(
    steps="secrets",
    place="secret_id",
    one="secret",
    many="secrets",
    rule="secret",
    object=SecretObject,
)
ROUTES = resource(
    _WIRE,
    list=Act(handler=list_secrets, summary="List secrets; never their content"),
    create=Act(
        handler=create_secret,
        takes=SecretCreate,
        example={"name": "web", "type": "CERTIFICATE", "pem": "-----BEGIN CERTIFICATE-----..."},
        summary="Store a certificate with its key, CAs or CRLs; or have a certificate ordered",
    ),
    show=Act(handler=show_secret, summary="Show what may be shown of a secret"),
    update=Act(
        handler=update_secret,
        takes=SecretUpdate,
        example={"name": "web-2027"},
        summary="Replace the content of a secret, for all that use it",
    ),
    delete=Act(handler=delete_secret, summary="Delete a secret that nothing uses"),
)

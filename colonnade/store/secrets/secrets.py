# SPDX-License-Identifier: Apache-2.0
"""Secrets for TLS as rows: what is known of them openly, and their content under a seal.

Nothing here opens a seal. A secret that a tree refers to cannot be deleted, and a new content is
a new generation of each cluster that uses it, in the same transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from colonnade.domain.errors import POLICY, Conflict, Forbidden, NotFound, OverQuota
from colonnade.domain.ids import ClusterId, ProjectId
from colonnade.domain.limits import SECRETS_PER_PROJECT_MAX
from colonnade.domain.ordering import Order
from colonnade.domain.secrets import (
    EXPIRING,
    EXPIRING_OF_LIFE,
    OF_LISTENERS,
    OF_POOLS,
    Facts,
    Secret,
)
from colonnade.drivers.secrets.database import Envelope, Kept
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.listing import Source, Wanted
from colonnade.store.queue import events, work
from colonnade.store.requests.context import RequestContext
from colonnade.store.rows import history

_FACTS: Final = Facts.__struct_fields__
_OWN: Final = ("id", "project_id", "name", "type", "source", "source_reason")
_ORDER: Final = Order.__struct_fields__
_WRITTEN: Final = (*_OWN, *_FACTS, *_ORDER)
_COLUMNS: Final = (*_WRITTEN, "created_at", "updated_at")
_SELECT: Final = f"SELECT {', '.join(f't.{name}' for name in _COLUMNS)}"
_SPANS: Final = " ".join(f"WHEN '{kind}' THEN {span.days}" for kind, span in EXPIRING.items())
IS_EXPIRING: Final = f"""(t.not_after < now() + CASE WHEN t.host_names <> '{{}}'
    THEN (t.not_after - t.not_before) / {EXPIRING_OF_LIFE}
    ELSE make_interval(days => CASE t.type {_SPANS} END) END)"""

# As `Order.status` has it.
_ORDER_STATUS: Final = """CASE WHEN t.host_names = '{}' THEN ''
    WHEN t.order_attempts > 0 AND t.order_reason <> '' THEN 'FAILING'
    WHEN t.order_attempts = 0 AND t.ordered_at IS NOT NULL THEN 'ISSUED' ELSE 'WAITING' END"""

SECRETS: Final = Source(
    columns=", ".join(f"t.{name}" for name in _COLUMNS),
    place=" FROM secrets t",
    attributes={
        **{name: f"t.{name}" for name in _COLUMNS},
        "tenant_id": "t.project_id",
        **{
            name: f"coalesce(t.{name}, 'epoch')"
            for name in ("updated_at", "ordered_at", "next_order_at")
        },
        "expiring": IS_EXPIRING,
        "order_status": _ORDER_STATUS,
    },
    times=frozenset(
        {"not_before", "not_after", "created_at", "updated_at", "ordered_at", "next_order_at"}
    ),
    flags=frozenset({"stand_in"}),
    lists=frozenset({"subject_alt_names", "host_names"}),
)
OWN: Final = msgspec.structs.replace(
    SECRETS, place=" FROM (SELECT * FROM secrets WHERE source = '') t"
)


INSERT: Final = (
    f"INSERT INTO secrets ({', '.join(_WRITTEN)}, public, wrapped_key, sealed)"  # noqa: S608
    f" VALUES ({', '.join(f'%({name})s' for name in _WRITTEN)}, %(public)s, %(key)s, %(sealed)s)"
)


class User(msgspec.Struct, frozen=True):
    """A listener or pool that refers to a secret."""

    table: str
    id: str
    load_balancer_id: str
    cluster_id: ClusterId
    provider: str


async def find(connection: Connection, wanted: Wanted) -> list[Secret]:
    """Those of our own store."""
    return [_secret(row) for row in await listing.rows(connection, OWN, wanted)]


async def find_all(connection: Connection, wanted: Wanted) -> list[Secret]:
    """With our copies of others."""
    return [_secret(row) for row in await listing.rows(connection, SECRETS, wanted)]


async def get(connection: Connection, secret_id: str, project: ProjectId | None) -> Secret:
    """One of our own store. Raises NotFound, and Forbidden for another project's."""
    row = await listing.row(connection, OWN, secret_id)
    if row is None:
        raise NotFound(f"Secret {secret_id} not found.")
    found = _secret(row)
    if project is not None and found.project_id != project:
        raise Forbidden(POLICY)
    return found


async def insert(connection: Connection, secret: Secret, envelope: Envelope, public: str) -> Secret:
    """Raises OverQuota when the project has as many as it may."""
    counted = await connection.execute(
        "SELECT count(*) FROM secrets WHERE project_id = %s AND source = ''",
        [secret.project_id],
    )
    (count,) = await counted.fetchone() or (0,)
    if count >= SECRETS_PER_PROJECT_MAX:
        raise OverQuota("Quota has been met for resources: secret")
    cursor = await connection.execute(
        f"{INSERT} RETURNING created_at", parameters(secret, envelope, public)
    )
    row = await cursor.fetchone()
    assert row is not None, "a row was written"
    return msgspec.structs.replace(secret, created_at=row[0])


async def rename(connection: Connection, secret_id: str, name: str) -> None:
    await connection.execute(
        "UPDATE secrets SET name = %s, updated_at = now() WHERE id = %s", [name, secret_id]
    )


async def update(connection: Connection, secret: Secret, envelope: Envelope, public: str) -> None:
    """A new content under the same id."""
    pairs = ", ".join(f"{name} = %({name})s" for name in ("name", *_FACTS, *_ORDER))
    await connection.execute(
        f"UPDATE secrets SET {pairs}, public = %(public)s, wrapped_key = %(key)s,"  # noqa: S608
        " sealed = %(sealed)s, updated_at = now() WHERE id = %(id)s",
        parameters(secret, envelope, public),
    )


async def delete(connection: Connection, secret: Secret) -> None:
    """Raises Conflict while something refers to it."""
    # Whoever writes a tree holds its cluster, so a reference that is being written is waited for.
    await connection.execute(
        "SELECT 1 FROM clusters c JOIN load_balancers b ON b.cluster_id = c.id"
        " WHERE b.project_id = %s ORDER BY c.id FOR SHARE OF c",
        [secret.project_id],
    )
    found = await users(connection, secret)
    if found:
        places = ", ".join(f"{user.table[:-1]} {user.id}" for user in found[:5])
        raise Conflict(f"Secret {secret.id} is in use by {places} and cannot be deleted.")
    await connection.execute("DELETE FROM secrets WHERE id = %s", [secret.id])


async def lock(connection: Connection, secret_id: str, project: ProjectId | None) -> Secret:
    """As `get`, and nobody else changes it until the transaction ends."""
    await connection.execute("SELECT 1 FROM secrets WHERE id = %s FOR UPDATE", [secret_id])
    return await get(connection, secret_id, project)


async def known(connection: Connection, ids: Collection[str]) -> Mapping[str, Secret]:
    """Those that there are, of any project."""
    cursor = await connection.execute(
        f"{_SELECT} FROM secrets t WHERE t.id = ANY(%s::uuid[])",
        [list(ids)],
    )
    return {row[0]: _secret(row) for row in await cursor.fetchall()}


async def public_parts(connection: Connection, ids: Collection[str]) -> Mapping[str, str]:
    cursor = await connection.execute(
        "SELECT id, public FROM secrets WHERE id = ANY(%s::uuid[])", [list(ids)]
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def contents(connection: Connection, ids: Collection[str]) -> Mapping[str, Kept]:
    cursor = await connection.execute(
        "SELECT id, project_id, wrapped_key, sealed FROM secrets WHERE id = ANY(%s::uuid[])",
        [list(ids)],
    )
    return {
        row[0]: Kept(ProjectId(row[1]), Envelope(bytes(row[2]), bytes(row[3])))
        for row in await cursor.fetchall()
    }


async def users(connection: Connection, secret: Secret) -> Sequence[User]:
    """All that refer to it, by an id or a URL."""
    cursor = await connection.execute(
        f"{_users_in('listeners', OF_LISTENERS)} UNION ALL {_users_in('pools', OF_POOLS)}"
        " ORDER BY 4, 2",
        {"project": secret.project_id, "id": f"%{secret.place.replace('-', '')}%"},
    )
    return [User(*row) for row in await cursor.fetchall()]


async def wake_users(
    connection: Connection, secret: Secret, found: Collection[User], context: RequestContext
) -> None:
    """Each cluster of these has something new to serve."""
    for cluster_id in sorted({user.cluster_id for user in found}):
        mine = [user for user in found if user.cluster_id == cluster_id]
        roots = sorted({user.load_balancer_id for user in mine})
        cursor = await connection.execute(
            "UPDATE clusters SET generation = generation + 1 WHERE id = %s RETURNING generation",
            [cluster_id],
        )
        row = await cursor.fetchone()
        if row is None:
            continue
        for table, ids in (
            ("load_balancers", roots),
            ("listeners", [user.id for user in mine if user.table == "listeners"]),
            ("pools", [user.id for user in mine if user.table == "pools"]),
        ):
            await connection.execute(
                f"UPDATE {table} SET changed = %s WHERE id = ANY(%s::uuid[])",  # noqa: S608
                [row[0], ids],
            )
        for root in roots:
            event = _replaced(secret, root, row[0])
            await events.record(connection, event)
            await connection.execute(history.INSERT, _remembered(event, context))
        await work.mark(connection, f"cluster:{cluster_id}")


def _replaced(secret: Secret, root: str, generation: int) -> events.Event:
    return events.Event(
        object_kind="load_balancer",
        object_id=root,
        kind="updated",
        message=f"updated: secret {secret.place} was replaced",
        load_balancer_id=root,
        project_id=secret.project_id,
        generation=generation,
    )


def _remembered(event: events.Event, context: RequestContext) -> dict[str, Any]:
    written = history.Written(
        load_balancer_id=event.object_id,
        generation=event.generation or 0,
        project=context.project,
        user=context.user,
        verb=event.kind,
        what=event.message,
        changes=(),
    )
    return history.parameters(written)


def _users_in(table: str, fields: Collection[str]) -> str:
    references = ", ".join(f"t.body ->> '{field}'" for field in fields)
    return (
        f"SELECT '{table}', t.id, t.load_balancer_id, b.cluster_id, c.provider"  # noqa: S608
        f" FROM {table} t JOIN load_balancers b ON b.id = t.load_balancer_id"
        " JOIN clusters c ON c.id = b.cluster_id"
        " WHERE t.project_id = %(project)s AND NOT t.deleted AND NOT b.deleted"
        f" AND lower(replace(concat_ws(' ', {references}), '-', '')) LIKE %(id)s"
    )


def parameters(secret: Secret, envelope: Envelope, public: str) -> dict[str, Any]:
    own: dict[str, Any] = {name: getattr(secret, name) for name in _OWN}
    facts = msgspec.structs.asdict(secret.facts)
    order = msgspec.structs.asdict(secret.order)
    return {
        **own,
        **facts,
        **order,
        "host_names": list(secret.order.host_names),
        "type": secret.type.value,
        "subject_alt_names": list(secret.facts.subject_alt_names),
        "public": public,
        "key": envelope.wrapped_key,
        "sealed": envelope.sealed,
    }


def _secret(row: Sequence[Any]) -> Secret:
    named = dict(zip(_COLUMNS, row, strict=True))
    facts = msgspec.convert({name: named.pop(name) for name in _FACTS}, Facts)
    order = msgspec.convert({name: named.pop(name) for name in _ORDER}, Order)
    return msgspec.convert({**named, "facts": facts, "order": order}, Secret)

# SPDX-License-Identifier: Apache-2.0
"""Our copies of what users keep in a cloud's key manager, as rows.

Each project has one of each secret that its trees name, so what one project may read says nothing
to another. A copy comes before the tree that names it, and goes when nothing does, a while after a
request asked for it last. Only what a copy is for is known here; who reads the key manager is not.
"""

from collections.abc import Collection, Sequence
from typing import Final

from msgspec.structs import replace

from colonnade.domain.ids import ProjectId, derived_id
from colonnade.domain.secrets import Facts, Secret, SecretId, SecretType, Use, uses
from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.secrets.database import Envelope
from colonnade.drivers.secrets.protocol import source_of
from colonnade.store.postgres.database import Connection
from colonnade.store.queue import work
from colonnade.store.secrets import secrets

KIND: Final = "copy"  # of work
UNUSED_S: Final = 3600  # so long one stays that nothing uses


def copy_of(project: ProjectId, place: str, kind: SecretType, facts: Facts) -> Secret:
    copy_id = SecretId(derived_id(project, place))
    return Secret(id=copy_id, project_id=project, type=kind, facts=facts, source=place)


async def keep(connection: Connection, copy: Secret, envelope: Envelope, public: str) -> None:
    """What is there already stays: whether there is another content is another's question."""
    await connection.execute(
        f"{secrets.INSERT} ON CONFLICT (id) DO NOTHING",
        secrets.parameters(copy, envelope, public),
    )
    await connection.execute("UPDATE secrets SET asked_at = now() WHERE id = %s", [copy.id])
    await mark(connection, copy.id)


async def mark(connection: Connection, copy_id: str) -> None:
    await work.mark(connection, f"{KIND}:{copy_id}")


async def mark_all(connection: Connection) -> None:
    """Whoever begins to look after copies looks at all once."""
    cursor = await connection.execute("SELECT id FROM secrets WHERE source <> ''")
    for (copy_id,) in await cursor.fetchall():
        await mark(connection, copy_id)


async def mark_changed(
    connection: Connection, before: LoadBalancer | None, after: LoadBalancer | None
) -> None:
    """Those that the tree names from now on, or no longer."""
    old = set(uses(before)) if before is not None else set[Use]()
    new = set(uses(after)) if after is not None else set[Use]()
    tree = after or before
    for reference in sorted({use.reference for use in old ^ new}):
        source = source_of(reference)
        if source is not None and tree is not None:
            await mark(connection, derived_id(tree.project_id, source.place))


async def find(connection: Connection, copy_id: str) -> Secret | None:
    found = (await secrets.known(connection, [copy_id])).get(copy_id)
    return found if found is not None and found.source else None


async def lock(connection: Connection, copy_id: str) -> Secret | None:
    """As `find`, and nobody else changes it until the transaction ends."""
    await connection.execute("SELECT FROM secrets WHERE id = %s FOR UPDATE", [copy_id])
    return await find(connection, copy_id)


async def set_content(
    connection: Connection, copy: Secret, envelope: Envelope, public: str
) -> Secret:
    await secrets.update(connection, copy, envelope, public)
    await give_reason(connection, copy.id, "")
    return replace(copy, source_reason="")


async def consumers(connection: Connection, copy_id: str) -> Sequence[str]:
    """Those that may be registered, as texts of their own."""
    cursor = await connection.execute("SELECT consumers FROM secrets WHERE id = %s", [copy_id])
    row = await cursor.fetchone()
    return row[0] if row is not None else ()


async def set_consumers(connection: Connection, copy_id: str, found: Collection[str]) -> None:
    await connection.execute(
        "UPDATE secrets SET consumers = %s WHERE id = %s", [sorted(found), copy_id]
    )


async def give_reason(connection: Connection, copy_id: str, reason: str) -> bool:
    """False: it is there already."""
    cursor = await connection.execute(
        "UPDATE secrets SET source_reason = %(reason)s"
        " WHERE id = %(id)s AND source_reason <> %(reason)s",
        {"id": copy_id, "reason": reason},
    )
    return cursor.rowcount == 1


async def forget(connection: Connection, copy_id: str) -> float:
    """Delete one that nothing uses. Seconds until that may be, 0 when it is gone."""
    cursor = await connection.execute(
        "SELECT extract(epoch FROM asked_at + make_interval(secs => %s) - now())::float8"
        " FROM secrets WHERE id = %s AND asked_at IS NOT NULL FOR UPDATE",
        [UNUSED_S, copy_id],
    )
    row = await cursor.fetchone()
    if row is not None and row[0] > 0:
        return float(row[0])
    await connection.execute("DELETE FROM secrets WHERE id = %s AND source <> ''", [copy_id])
    return 0.0

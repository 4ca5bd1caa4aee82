# SPDX-License-Identifier: Apache-2.0
"""Certificates that are ordered, as rows: who we are to the issuer, what is asked of which host
names, what an order still waits for, and each attempt before it is made.

The content of a secret, and whoever uses it, are the affair of `secrets.py` beside this.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import asdict

from colonnade.domain.ids import new_id
from colonnade.domain.ordering import CHALLENGE_PORT, Challenge, Order
from colonnade.domain.secrets import Secret, uses
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import ListenerProtocol
from colonnade.drivers.secrets.database import Seal
from colonnade.drivers.secrets.ordered import AccountKey
from colonnade.drivers.secrets.protocol import id_of
from colonnade.store.postgres.database import Connection
from colonnade.store.queue import work
from colonnade.store.secrets import secrets
from colonnade.store.secrets.secrets import User

KIND: Final = "certificate"  # of work


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """`key`: sealed for the id. `uri`: as what it is registered with the directory; "": nowhere."""

    id: str
    key: bytes
    directory: str = ""
    uri: str = ""


async def mark(connection: Connection, secret_id: str) -> None:
    await work.mark(connection, f"{KIND}:{secret_id}")


async def mark_all(connection: Connection) -> None:
    """Each that is ordered: whoever begins to order looks at all once."""
    cursor = await connection.execute("SELECT id FROM secrets WHERE host_names <> '{}'")
    for (secret_id,) in await cursor.fetchall():
        await mark(connection, secret_id)


async def account(connection: Connection) -> Account | None:
    cursor = await connection.execute("SELECT id, key, directory, uri FROM issuer_accounts")
    row = await cursor.fetchone()
    if row is None:
        return None
    return Account(id=row[0], key=bytes(row[1]), directory=row[2], uri=row[3])


async def have_account(connection: Connection, seal: Seal) -> None:
    """A key of ours, if there is none yet. Whoever makes one at the same time is waited for."""
    if await account(connection) is not None:
        return
    made, account_id = AccountKey.new(), new_id()
    await connection.execute(
        "INSERT INTO issuer_accounts (id, key, thumbprint) VALUES (%s, %s, %s)"
        " ON CONFLICT (one) DO NOTHING",
        [account_id, seal.seal(made.pem.encode(), account_id), made.thumbprint],
    )


async def registered(connection: Connection, account_id: str, directory: str, uri: str) -> None:
    await connection.execute(
        "UPDATE issuer_accounts SET directory = %s, uri = %s WHERE id = %s",
        [directory, uri, account_id],
    )


async def challenge(connection: Connection, trees: Sequence[LoadBalancer]) -> Challenge | None:
    """What these trees answer to an issuer; None where they use no certificate that is ordered."""
    ids = {found for tree in trees for use in uses(tree) if (found := id_of(use.reference))}
    if not ids:
        return None
    cursor = await connection.execute(
        "SELECT a.thumbprint, array_agg(DISTINCT host ORDER BY host) FROM issuer_accounts a,"
        " secrets s, unnest(s.host_names) AS asked (host) WHERE s.id = ANY(%s::uuid[]) GROUP BY 1",
        [list(ids)],
    )
    row = await cursor.fetchone()
    return None if row is None else Challenge(thumbprint=row[0], host_names=tuple(row[1]))


async def find(connection: Connection, secret_id: str) -> Secret | None:
    """One that is ordered."""
    found = (await secrets.known(connection, [secret_id])).get(secret_id)
    return found if found is not None and found.order.host_names else None


async def lacks(connection: Connection, users: Collection[User]) -> str:
    """Why no load balancer can answer an issuer for the names of a secret yet, "" when one can."""
    mine = [user for user in users if user.table == "listeners"]
    if not mine:
        return "It is ordered when a listener uses it."
    cursor = await connection.execute(
        """SELECT b.id, b.body ->> 'name',
            http.id IS NOT NULL, c.applied_lowest >= greatest(http.changed, max(mine.changed))
        FROM listeners mine
        JOIN load_balancers b ON b.id = mine.load_balancer_id
        JOIN clusters c ON c.id = b.cluster_id
        LEFT JOIN listeners http ON http.load_balancer_id = b.id AND NOT http.deleted
            AND http.body ->> 'protocol' = %(protocol)s
            AND http.body ->> 'protocol_port' = %(port)s
            AND coalesce((http.body ->> 'admin_state_up')::boolean, true)
            AND coalesce((b.body ->> 'admin_state_up')::boolean, true)
        WHERE mine.id = ANY(%(ids)s::uuid[])
        GROUP BY b.id, c.id, http.id ORDER BY b.id""",
        {
            "protocol": ListenerProtocol.HTTP.value,
            "port": str(CHALLENGE_PORT),
            "ids": [user.id for user in mine],
        },
    )
    rows = await cursor.fetchall()
    answering = [row[3] for row in rows if row[2]]
    if any(answering):
        return ""
    if answering:
        return "It is ordered as soon as the load balancer serves."
    name = rows[0][1] or rows[0][0] if rows else mine[0].load_balancer_id
    return (
        f"The issuer asks on port {CHALLENGE_PORT}, and load balancer {name} has no listener there "
        f"that is up: create one with protocol HTTP and port {CHALLENGE_PORT}."
    )


async def set_order(connection: Connection, secret_id: str, order: Order) -> None:
    """Another order, with the content that is there."""
    pairs = ", ".join(f"{name} = %({name})s" for name in Order.__struct_fields__)
    await connection.execute(
        f"UPDATE secrets SET {pairs} WHERE id = %(id)s",  # noqa: S608
        {**asdict(order), "host_names": list(order.host_names), "id": secret_id},
    )


async def set_next(connection: Connection, secret_id: str, at: datetime) -> None:
    await connection.execute("UPDATE secrets SET next_order_at = %s WHERE id = %s", [at, secret_id])


async def begin(connection: Connection, secret_id: str, next_at: datetime) -> None:
    """One more attempt, whatever becomes of it."""
    await connection.execute(
        "UPDATE secrets SET order_attempts = order_attempts + 1, ordered_at = now(),"
        " next_order_at = %s, order_reason = '' WHERE id = %s",
        [next_at, secret_id],
    )


async def give_reason(connection: Connection, secret_id: str, reason: str) -> bool:
    """False: it is there already."""
    cursor = await connection.execute(
        "UPDATE secrets SET order_reason = %(reason)s"
        " WHERE id = %(id)s AND order_reason <> %(reason)s",
        {"id": secret_id, "reason": reason},
    )
    return cursor.rowcount == 1

# SPDX-License-Identifier: Apache-2.0
"""References of trees to secrets, checked in the transaction that writes the tree.

A new reference must lead to a secret of the tree's own project and of the right type. A secret that
expires soon is noted. Trees of a provider that reads no secrets are not checked. This module knows
only what is public of a secret.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from colonnade.domain.errors import Invalid
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Pool
from colonnade.domain.secrets import OF_LISTENERS, OF_POOLS, PAIRS, Secret, Use, uses
from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.secrets.material import crls_outside
from colonnade.drivers.secrets.protocol import id_of
from colonnade.store.postgres.database import Connection
from colonnade.store.rows.tables import json_of, load_trees, read_root
from colonnade.store.secrets import secrets
from colonnade.store.secrets.secrets import User

_FIELDS: Final = OF_LISTENERS.keys() | OF_POOLS.keys()


async def check(
    connection: Connection, before: LoadBalancer | None, after: LoadBalancer
) -> list[tuple[str, str]]:
    """(path, reason) of each secret that expires soon. Raises Invalid for new references that lead
    nowhere. Asks nobody when there are none at all."""
    wanted = list(uses(after))
    if not wanted:
        return []
    ids = {found for use in wanted if (found := id_of(use.reference)) is not None}
    there = await secrets.known(connection, ids)
    old = set(uses(before)) if before is not None else set()
    new = [use for use in wanted if use not in old]
    lost = [use.reference for use in new if not _fits(use, there, after)]
    if lost:
        raise Invalid(f"Could not retrieve certificate: {lost}")
    await _check_pairs(connection, after, {use.path for use in new})
    return notes(wanted, there, datetime.now(UTC))


async def check_users(connection: Connection, found: Collection[User]) -> None:
    """Raises Invalid when a secret that was replaced no longer fits the one beside it."""
    for root_id in sorted({user.load_balancer_id for user in found}):
        cursor = await connection.execute(
            "SELECT body::text FROM load_balancers WHERE id = %s", [root_id]
        )
        roots = [read_root(row[0]) for row in await cursor.fetchall()]
        for tree in await load_trees(connection, roots):
            await _check_pairs(connection, tree, {use.path for use in uses(tree)})


async def concerned(connection: Connection, providers: Collection[str]) -> list[str]:
    """Load balancers of these providers that may have something to note, or to forget."""
    found = await connection.execute(
        "SELECT b.id FROM load_balancers b JOIN clusters c ON c.id = b.cluster_id"  # noqa: S608
        " WHERE NOT b.deleted AND c.provider = ANY(%s)"
        " AND (b.issues::text LIKE '%%_container_ref%%' OR EXISTS (SELECT FROM secrets t"
        f" WHERE t.project_id = b.project_id AND (t.stand_in OR {secrets.IS_EXPIRING})))",
        [list(providers)],
    )
    return [row[0] for row in await found.fetchall()]


async def note(connection: Connection, load_balancer_id: str) -> bool:
    """Bring what is noted of a tree's secrets up to date. False: it is."""
    # In the order of whoever writes the tree.
    locked = await connection.execute(
        "SELECT lb.body::text, lb.issues FROM load_balancers lb"
        " JOIN clusters c ON c.id = lb.cluster_id"
        " WHERE lb.id = %s AND NOT lb.deleted FOR UPDATE OF c, lb",
        [load_balancer_id],
    )
    row = await locked.fetchone()
    if row is None:
        return False
    (tree,) = await load_trees(connection, [read_root(row[0])])
    wanted = list(uses(tree))
    ids = {found for use in wanted if (found := id_of(use.reference)) is not None}
    there = await secrets.known(connection, ids) if ids else {}
    others = [one for one in row[1] if one["path"].rpartition("/")[2] not in _FIELDS]
    told = notes(wanted, there, datetime.now(UTC))
    issues = [*others, *({"path": path, "reason": reason} for path, reason in told)]
    if issues == row[1]:
        return False
    await connection.execute(
        "UPDATE load_balancers SET issues = %s WHERE id = %s", [json_of(issues), load_balancer_id]
    )
    return True


def notes(
    wanted: Collection[Use], there: Mapping[str, Secret], now: datetime
) -> list[tuple[str, str]]:
    """(path, reason) for each reference whose secret ends soon, or has, or stands in for one that
    is ordered."""
    found = []
    for use in wanted:
        secret = there.get(id_of(use.reference) or "")
        if secret is not None and (secret.order.stand_in or secret.is_expiring(now)):
            found.append((use.path, _said(secret, now)))
    return found


def _said(secret: Secret, now: datetime) -> str:
    name = f" ({secret.name})" if secret.name else ""
    order = secret.order
    if order.stand_in:
        fact = "is self-signed until its certificate is issued"
    else:
        verb = "has expired on" if secret.is_expired(now) else "expires on"
        fact = f"{verb} {secret.facts.not_after:%Y-%m-%d}"
    return (
        f"Secret {secret.id}{name} {fact}{f': {order.order_reason}' if order.order_reason else '.'}"
    )


def _fits(use: Use, there: Mapping[str, Secret], tree: LoadBalancer) -> bool:
    secret = there.get(id_of(use.reference) or "")
    return secret is not None and secret.project_id == tree.project_id and secret.type is use.type


async def _check_pairs(
    connection: Connection, tree: LoadBalancer, changed: Collection[str]
) -> None:
    nodes: Sequence[tuple[str, Listener | Pool]] = [
        *(("listeners", listener) for listener in tree.listeners),
        *(("pools", pool) for pool in tree.pools),
    ]
    for word, node in nodes:
        for crl_field, ca_field in PAIRS.items():
            crl, ca = getattr(node, crl_field, None), getattr(node, ca_field, None)
            paths = {f"{word}/{node.id}/{field}" for field in (crl_field, ca_field)}
            if crl is None or ca is None or not paths & set(changed):
                continue
            crl_id, ca_id = id_of(crl) or "", id_of(ca) or ""
            public = await secrets.public_parts(connection, [crl_id, ca_id])
            if public.keys() != {crl_id, ca_id}:
                continue
            strangers = crls_outside(public[crl_id], public[ca_id])
            if strangers:
                raise Invalid(
                    f"The CRL of {strangers[0]} is not signed by a CA of {ca_field}.",
                    field=crl_field,
                )

# SPDX-License-Identifier: Apache-2.0
"""References of trees to secrets, checked in the transaction that writes the tree.

A new reference must lead to a secret of the tree's own project and of the right type; one into a
key manager is `Unseen` until its caller was seen to read it there. A secret that expires soon is
noted. Trees of a provider that reads no secrets are not checked. This module knows only what is
public of a secret.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from colonnade.domain.errors import Invalid, Unavailable
from colonnade.domain.ids import ProjectId
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Pool
from colonnade.domain.secrets import OF_LISTENERS, OF_POOLS, PAIRS, Secret, Use, uses
from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.secrets.material import crls_outside
from colonnade.drivers.secrets.protocol import kept_ids, source_of
from colonnade.store.postgres.database import Connection
from colonnade.store.rows.tables import json_of, load_trees, read_root
from colonnade.store.secrets import secrets
from colonnade.store.secrets.secrets import User

_FIELDS: Final = OF_LISTENERS.keys() | OF_POOLS.keys()


class Unseen(Unavailable):
    """The tree newly names secrets of a key manager, of which nobody knows yet whether the caller
    may read them. Nothing was written: see, and try again."""

    def __init__(self, project: ProjectId, uses: Collection[Use]) -> None:
        super().__init__("Certificates are to be retrieved first.")
        self.project = project
        self.uses = uses


async def check(
    connection: Connection,
    before: LoadBalancer | None,
    after: LoadBalancer,
    seen: Collection[str] | None,
) -> list[tuple[str, str]]:
    """(path, reason) of each secret that expires soon. `seen`: see `RequestContext`. Raises Invalid
    for new references that lead nowhere, and Unseen. Asks nobody when there are none at all."""
    wanted = list(uses(after))
    if not wanted:
        return []
    there = await secrets.known(connection, _ids(wanted, after.project_id))
    old = set(uses(before)) if before is not None else set()
    new = [use for use in wanted if use not in old]
    foreign = {use.reference for use in new if _is_foreign(use, there, after.project_id)}
    unseen = foreign - set(seen) if seen is not None else set()
    lost = [
        use.reference
        for use in new
        if not (use.reference in unseen or _fits(use, there, after))
        or (seen is None and use.reference in foreign)
    ]
    if lost:
        raise lost_are(lost)
    if unseen:
        raise Unseen(after.project_id, [use for use in new if use.reference in unseen])
    await _check_pairs(connection, after, {use.path for use in new})
    return notes(wanted, there, after.project_id, datetime.now(UTC))


def lost_are(references: Sequence[str], why: str = "") -> Invalid:
    """In the wire contract's words."""
    return Invalid(f"Could not retrieve certificate: {references}{f': {why}' if why else ''}")


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
        " WHERE t.project_id = b.project_id"
        f" AND (t.stand_in OR t.source_reason <> '' OR {secrets.IS_EXPIRING})))",
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
    ids = _ids(wanted, tree.project_id)
    there = await secrets.known(connection, ids) if ids else {}
    others = [one for one in row[1] if one["path"].rpartition("/")[2] not in _FIELDS]
    told = notes(wanted, there, tree.project_id, datetime.now(UTC))
    issues = [*others, *({"path": path, "reason": reason} for path, reason in told)]
    if issues == row[1]:
        return False
    await connection.execute(
        "UPDATE load_balancers SET issues = %s WHERE id = %s", [json_of(issues), load_balancer_id]
    )
    return True


def notes(
    wanted: Collection[Use], there: Mapping[str, Secret], project: ProjectId, now: datetime
) -> list[tuple[str, str]]:
    """(path, reason) for each reference whose secret ends soon, or has, or stands in for one that
    is ordered, or is a copy of what can no longer be read."""
    found = []
    for use in wanted:
        secret = _found(use, there, project)
        if secret is None:
            continue
        if secret.order.stand_in or secret.is_expiring(now):
            found.append((use.path, _said(secret, now)))
        if secret.source_reason:
            found.append((use.path, f"Secret {secret.place}: {secret.source_reason}"))
    return found


def _ids(wanted: Collection[Use], project: ProjectId) -> set[str]:
    return {one for use in wanted for one in kept_ids(use.reference, project)}


def _found(use: Use, there: Mapping[str, Secret], project: ProjectId) -> Secret | None:
    mine = (there[one] for one in kept_ids(use.reference, project) if one in there)
    return next((one for one in mine if one.project_id == project), None)


def _is_foreign(use: Use, there: Mapping[str, Secret], project: ProjectId) -> bool:
    """Whether a key manager has what is named, unless it is one of our own."""
    found = _found(use, there, project)
    return source_of(use.reference) is not None and (found is None or bool(found.source))


def _said(secret: Secret, now: datetime) -> str:
    name = f" ({secret.name})" if secret.name else ""
    order = secret.order
    if order.stand_in:
        fact = "is self-signed until its certificate is issued"
    else:
        verb = "has expired on" if secret.is_expired(now) else "expires on"
        fact = f"{verb} {secret.facts.not_after:%Y-%m-%d}"
    reason = f": {order.order_reason}" if order.order_reason else "."
    return f"Secret {secret.place}{name} {fact}{reason}"


def _fits(use: Use, there: Mapping[str, Secret], tree: LoadBalancer) -> bool:
    secret = _found(use, there, tree.project_id)
    return secret is not None and secret.type is use.type


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
            crl_pem = await _public_part(connection, crl, tree.project_id)
            ca_pem = await _public_part(connection, ca, tree.project_id)
            if crl_pem is None or ca_pem is None:
                continue
            strangers = crls_outside(crl_pem, ca_pem)
            if strangers:
                raise Invalid(
                    f"The CRL of {strangers[0]} is not signed by a CA of {ca_field}.",
                    field=crl_field,
                )


async def _public_part(connection: Connection, reference: str, project: ProjectId) -> str | None:
    ids = kept_ids(reference, project)
    public = await secrets.public_parts(connection, ids)
    return next((public[one] for one in ids if one in public), None)

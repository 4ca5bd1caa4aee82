# SPDX-License-Identifier: Apache-2.0
"""Wishes: the trees that users asked for, and every change to them.

One change is one transaction: the cluster is locked, the tree loaded and edited, the provider
asked for objections, the difference written, the generation raised by one, the work to do and
the event recorded. On an exception, nothing happened; without a difference, nothing is written.
This module knows no provider: what it must ask of one, it asks of a `Review`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, Protocol

import msgspec
import psycopg.errors
from msgspec.structs import replace

from colonnade.domain.catalogue import Sizing
from colonnade.domain.errors import Conflict, Forbidden, Invalid, NotFound
from colonnade.domain.fleet import Cluster, Topology
from colonnade.domain.ids import ClusterId, ProjectId
from colonnade.domain.status import Applied
from colonnade.domain.tree import LoadBalancer
from colonnade.runtime.config import Quotas
from colonnade.store.catalogue import catalogue, quotas
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.requests import idempotency
from colonnade.store.requests.context import DryRunResult, RequestContext
from colonnade.store.rows.difference import difference
from colonnade.store.rows.tables import (
    LOAD_BALANCERS,
    Table,
    ask_children,
    load_trees,
    read_root,
    with_children,
)
from colonnade.store.secrets import references
from colonnade.store.trees import changes
from colonnade.store.trees.changes import Change

POLICY: Final = "Policy does not allow this request to be performed."


class Issue(msgspec.Struct, frozen=True):
    """What a tree lacks to be served. `path` begins with the object's plural and id."""

    path: str
    reason: str


class Review(Protocol):
    """What a provider says of a tree before it is stored."""

    def lacks(self, tree: LoadBalancer) -> Sequence[tuple[str, str]]:
        """(path, reason) of all that the tree lacks. Raises Incompatible for what can never be
        served."""

    def settles_at_once(self, provider: str) -> bool:
        """True when there is nothing to wait for: the wish is the fact."""

    def reads_secrets(self, provider: str) -> bool:
        """Whether references to certificates must lead somewhere."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A tree as it was left by the transaction that wrote it: enough to show what is new."""

    tree: LoadBalancer
    generation: int
    at: datetime
    applied: Applied
    is_noop: bool = False  # nothing serves it
    issues: Sequence[Issue] = ()


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a new tree beside its own attributes."""

    size: Sizing = Sizing()
    defaults: Quotas = quotas.UNLIMITED  # for a project that has no quota of its own
    context: RequestContext = RequestContext()


class Edit:
    """A tree under change. Assign `tree`; None deletes the whole of it."""

    def __init__(
        self, connection: Connection, before: Stored, quota: quotas.Row | None = None
    ) -> None:
        self.before = before.tree
        self.stored = before  # once the change is written, as it was left
        self.quota = quota  # the project's own, if it has one
        self.defaults = quotas.UNLIMITED  # for who has none; set by who knows the configuration
        self.context = RequestContext()  # set by who knows the caller
        self.connection = connection  # for looks within the transaction
        self._tree: LoadBalancer | None = before.tree

    @property
    def generation(self) -> int:
        return self.stored.generation

    @property
    def tree(self) -> LoadBalancer:
        assert self._tree is not None, "the tree has been deleted"
        return self._tree

    @tree.setter
    def tree(self, tree: LoadBalancer) -> None:
        self._tree = tree

    def delete(self) -> None:
        self._tree = None

    @property
    def after(self) -> LoadBalancer | None:
        return self._tree


async def wanted(connection: Connection, cluster_id: ClusterId) -> Cluster | None:
    """The wish for a cluster, None when there is no such cluster.

    A deleted cluster comes with its load balancers but without their children: who tears it
    down needs to know which VIPs to give back."""
    cursor = await connection.execute(
        "SELECT c.generation, c.topology, c.flavor, c.deleted, lb.body::text"
        " FROM clusters c LEFT JOIN load_balancers lb"
        "   ON lb.cluster_id = c.id AND (c.deleted OR NOT lb.deleted)"
        " WHERE c.id = %s ORDER BY lb.created_at, lb.id",
        [cluster_id],
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    generation, topology, flavor, deleted, _ = rows[0]
    roots = tuple(read_root(row[4]) for row in rows if row[4] is not None)
    # The tree may be newer than the generation read before it, never older: the key is then
    # dirty again, and the next look carries the higher number.
    return Cluster(
        id=cluster_id,
        generation=generation,
        topology=Topology(topology),
        flavor=flavor,
        deleted=deleted,
        load_balancers=roots if deleted else await load_trees(connection, roots),
    )


async def create(
    database: Database,
    tree: LoadBalancer,
    review: Review,
    *,
    terms: Terms = Terms(),  # noqa: B008 - frozen
) -> Stored:
    """Store a new tree with a cluster of its own. Raises Incompatible, OverQuota, and Invalid for
    a flavor or a zone that has gone meanwhile."""
    issues = _issues(review, tree)
    at_once = review.settles_at_once(tree.provider)
    found = difference(None, tree)
    change = Change(1, "created", found, at_once, context=terms.context)
    added = quotas.increase(found, is_new=True)
    try:
        async with database.read() as connection:
            asked = await quotas.ask_row(connection, tree.project_id)
            limits = quotas.holding(terms.defaults, await quotas.read_row(asked))
            alone = not found.added and not terms.context.is_dry_run
            if alone and not quotas.bounds(added, limits):
                # One statement is a transaction, and needs no round trips to begin and end it.
                at = await changes.write_new(connection, tree, change, issues, terms.size)
                return _created(tree, at, at_once, issues)
        async with database.pipeline() as connection:
            issues += await _references(connection, review, None, tree)
            at = await changes.write_new(connection, tree, change, issues, terms.size)
            await catalogue.check_flavor(connection, tree, found)
            await quotas.enforce(connection, tree.project_id, added, limits)
            reasons = tuple(issue.reason for issue in issues)
            await _end_dry_run(connection, terms.context, DryRunResult(None, tree, found, reasons))
    except psycopg.errors.IntegrityError as error:
        raise _refusal(error) from error
    return _created(tree, at, at_once, issues)


def _created(tree: LoadBalancer, at: datetime, at_once: bool, issues: Sequence[Issue]) -> Stored:
    settled = int(at_once)
    applied = Applied(lowest=settled, highest_settled=settled)
    return Stored(tree=tree, generation=1, at=at, applied=applied, is_noop=at_once, issues=issues)


@asynccontextmanager
async def editing(
    database: Database, table: Table, object_id: str, *, project: ProjectId | None, review: Review
) -> AsyncIterator[Edit]:
    """Change the tree that the named object is part of. `project` None may edit any.

    Raises NotFound, Forbidden, Conflict for a tree that is being deleted, and Invalid for a log
    target that is not there."""
    try:
        async with database.pipeline() as connection:
            edit = await _lock(connection, table, object_id, project)
            yield edit
            stored = await _save(connection, edit, review)
    except psycopg.errors.IntegrityError as error:
        raise _refusal(error) from error
    edit.stored = stored


async def _lock(
    connection: Connection, table: Table, object_id: str, project: ProjectId | None
) -> Edit:
    """Two statements, for the second must see what whoever held the lock has written."""
    of_root = (
        "%(id)s::uuid"
        if table is LOAD_BALANCERS
        else f"(SELECT load_balancer_id FROM {table.name} WHERE id = %(id)s)"  # noqa: S608
    )
    # Both rows are locked: the one that waited must not go on with the older body.
    locked = await connection.execute(
        "SELECT lb.id, lb.project_id, lb.deleted, lb.body::text, c.generation, now(),"  # noqa: S608
        f" c.applied_lowest, c.highest_settled, c.failed_at, {quotas.OWN_ROW}"
        " FROM load_balancers lb JOIN clusters c ON c.id = lb.cluster_id"
        f" WHERE lb.id = {of_root} FOR UPDATE OF c, lb",
        {"id": object_id},
    )
    children = await ask_children(connection, of_root, object_id)
    row = await locked.fetchone()
    if row is None:
        raise NotFound(f"{table.noun} {object_id} not found.")
    root_id, owner, deleted, body, generation, at, lowest, settled, failed_at, quota = row
    if project is not None and owner != project:
        raise Forbidden(POLICY)
    if deleted and table is LOAD_BALANCERS:
        raise Conflict(f"Invalid state PENDING_DELETE of loadbalancer resource {root_id}")
    if deleted:
        raise Conflict(f"Load Balancer {root_id} is immutable and cannot be updated.")
    (tree,) = with_children([read_root(body)], await children.fetchall())
    applied = Applied(lowest=lowest, highest_settled=settled, failed_at=failed_at)
    stored = Stored(tree=tree, generation=generation, at=at, applied=applied)
    return Edit(connection, stored, quota)


async def _save(connection: Connection, edit: Edit, review: Review) -> Stored:
    before, after, stored = edit.before, edit.after, edit.stored
    found = difference(before, after)
    if found.is_empty:
        await _end_dry_run(connection, edit.context, DryRunResult(before, after, found, ()))
        return stored
    issues = _issues(review, after) if after is not None else ()
    if after is not None:
        issues += await _references(connection, review, before, after)
    change = Change(
        edit.generation + 1,
        "updated" if after is not None else "deleted",
        found,
        review.settles_at_once(before.provider),
        before,
        edit.context,
    )
    await changes.write(connection, after or before, change, issues)
    await catalogue.check_flavor(connection, after or before, found)
    limits = quotas.holding(edit.defaults, edit.quota)
    await quotas.enforce(connection, before.project_id, quotas.increase(found), limits)
    reasons = tuple(issue.reason for issue in issues)
    await _end_dry_run(connection, edit.context, DryRunResult(before, after, found, reasons))
    applied = stored.applied
    if change.at_once:
        applied = replace(applied, lowest=change.generation, highest_settled=change.generation)
    return replace(
        stored,
        tree=after or before,
        generation=change.generation,
        applied=applied,
        is_noop=change.at_once,
        issues=issues,
    )


async def _end_dry_run(
    connection: Connection, context: RequestContext, result: DryRunResult
) -> None:
    """Within the transaction, which is then undone."""
    if context.is_dry_run:
        # Statements wait for each other; what the database refuses is known once one answers.
        await (await connection.execute("SELECT 1")).fetchone()
        raise result


def _refusal(error: psycopg.errors.IntegrityError) -> Exception:
    """Something that a new or changed tree names has gone, or belongs to another project; or the
    request was made before."""
    constraint = error.diag.constraint_name or ""
    if isinstance(error, psycopg.errors.UniqueViolation):
        if constraint == "load_balancers_vip_port":
            return Invalid("The port is already in use.", field="vip_port_id")
        return idempotency.Repeated() if constraint == idempotency.PRIMARY_KEY else error
    if "affinity_group" in constraint:
        return Invalid("The affinity group was not found.", field="affinity_group_id")
    if "log_target" in constraint:
        return Invalid("The log target was not found.", field="access_log.target_id")
    return Invalid("The flavor or availability zone was not found.")


def _issues(review: Review, tree: LoadBalancer) -> tuple[Issue, ...]:
    return tuple(Issue(path, reason) for path, reason in review.lacks(tree))


async def _references(
    connection: Connection, review: Review, before: LoadBalancer | None, after: LoadBalancer
) -> tuple[Issue, ...]:
    """Which secrets end soon. Raises Invalid for new references that lead nowhere."""
    if not review.reads_secrets(after.provider):
        return ()
    found = await references.check(connection, before, after)
    return tuple(Issue(path, reason) for path, reason in found)

# SPDX-License-Identifier: Apache-2.0
"""Wishes: the trees that users asked for, as a whole, and the first writing of each.

A new tree is one transaction: the provider is asked for objections, all of it is written, the work
to do and the event recorded. On an exception, nothing happened. How a tree is changed is in
`edits.py` beside this. It knows no provider: what must be asked of one is asked of a `Review`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec
import psycopg.errors

from colonnade.domain.catalogue import Sizing
from colonnade.domain.errors import Conflict, Invalid
from colonnade.domain.fleet import Cluster, Topology
from colonnade.domain.ids import ClusterId
from colonnade.domain.status import Applied
from colonnade.domain.tree import LoadBalancer
from colonnade.runtime.config import Quotas
from colonnade.store.catalogue import catalogue, quotas
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.requests import idempotency
from colonnade.store.requests.context import RequestContext
from colonnade.store.requests.dry_run import DryRunResult
from colonnade.store.rows.difference import Place, difference
from colonnade.store.rows.tables import load_trees, read_root
from colonnade.store.secrets import copies, orders, references
from colonnade.store.trees import changes, new_ids, regrouping
from colonnade.store.trees.changes import Change
from colonnade.store.trees.remembered import Issue, Known, remembered_by


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
    topology: Topology | None = None  # of a new tree
    issues: Sequence[Issue] = ()
    added: Sequence[Place] = ()  # by this change


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a new tree beside its own attributes."""

    size: Sizing = Sizing()
    defaults: Quotas = quotas.UNLIMITED  # for a project that has no quota of its own
    context: RequestContext = RequestContext()
    given: bool = False  # its ids are of elsewhere, so they may be somebody's here


async def wanted(connection: Connection, cluster_id: ClusterId) -> Cluster | None:
    """The wish for a cluster, None when there is no such cluster.

    A deleted cluster comes with its load balancers but without their children: who tears it
    down needs to know which VIPs to give back."""
    cursor = await connection.execute(
        "SELECT c.generation, c.topology, c.amphorae, c.advert_ms, c.flavor, c.deleted,"
        " c.per_amphora,"
        " lb.body::text"
        " FROM clusters c LEFT JOIN load_balancers lb"
        "   ON lb.cluster_id = c.id AND (c.deleted OR NOT lb.deleted)"
        " WHERE c.id = %s ORDER BY lb.created_at, lb.id",
        [cluster_id],
    )
    rows = await cursor.fetchall()
    if not rows:
        return None
    generation, topology, amphorae, advert_ms, flavor, deleted, per_amphora, _ = rows[0]
    roots = tuple(read_root(row[-1]) for row in rows if row[-1] is not None)
    trees = roots if deleted else await load_trees(connection, roots)
    # The tree may be newer than the generation read before it, never older: the key is then
    # dirty again, and the next look carries the higher number.
    return Cluster(
        id=cluster_id,
        generation=generation,
        topology=Topology(topology),
        amphorae=amphorae,
        advert_ms=advert_ms,
        flavor=flavor,
        per_amphora=per_amphora,
        deleted=deleted,
        load_balancers=trees,
        challenge=await orders.challenge(connection, trees),
    )


async def create(
    database: Database,
    tree: LoadBalancer,
    review: Review,
    *,
    terms: Terms = Terms(),  # noqa: B008 - frozen
) -> Stored:
    """Store a new tree with a cluster of its own. Raises Incompatible, OverQuota, Invalid for
    a flavor or a zone that has gone meanwhile, and Conflict for a given id that is in use."""
    issues = find_issues(review, tree)
    at_once = review.settles_at_once(tree.provider)
    found = difference(None, tree)
    change = Change(1, "created", found, at_once, context=terms.context)
    added = quotas.increase(found, is_new=True)
    new = None
    try:
        async with database.read() as connection:
            asked = await quotas.ask_row(connection, tree.project_id)
            limits = quotas.holding(terms.defaults, await quotas.read_row(asked))
            alone = not found.added and not terms.context.is_dry_run
            alone = alone and tree.affinity_group_id is None and not terms.given
            if alone and not quotas.bounds(added, limits):
                # One statement is a transaction, and needs no round trips to begin and end it.
                new = await changes.write_new(connection, tree, change, issues, terms.size)
        if new is None:
            async with database.pipeline() as connection:
                issues += await references_of(connection, review, None, tree, terms.context)
                new = await changes.write_new(connection, tree, change, issues, terms.size)
                if terms.given:
                    await new_ids.check(connection, tree)
                await catalogue.check_flavor(connection, tree, found)
                await regrouping.check(connection, tree)
                await quotas.enforce(connection, tree.project_id, added, limits)
                reasons = tuple(issue.reason for issue in issues)
                await end_trial(connection, terms.context, DryRunResult(None, tree, found, reasons))
    except psycopg.errors.IntegrityError as error:
        raise refusal(error) from error
    known = Known(tree=tree, generation=1, version=new.version, issues=issues)
    remembered_by(database).keep(known)
    return Stored(
        tree=tree,
        generation=1,
        at=new.at,
        applied=new.applied,
        is_noop=at_once,
        topology=terms.size.topology,
        issues=issues,
        added=found.added,
    )


async def end_trial(connection: Connection, context: RequestContext, result: DryRunResult) -> None:
    """Within the transaction, which is then undone."""
    if context.is_dry_run:
        # Statements wait for each other; what the database refuses is known once one answers.
        await (await connection.execute("SELECT 1")).fetchone()
        raise result


def refusal(error: psycopg.errors.IntegrityError) -> Exception:
    """Something that a new or changed tree names has gone, or belongs to another project; or the
    request was made before."""
    constraint = error.diag.constraint_name or ""
    if isinstance(error, psycopg.errors.UniqueViolation):
        if constraint == "load_balancers_vip_port":
            return Invalid("The port is already in use.", field="vip_port_id")
        if constraint == new_ids.OF_ROOT:
            return Conflict(new_ids.IN_USE)
        return idempotency.Repeated() if constraint == idempotency.PRIMARY_KEY else error
    if "affinity_group" in constraint:
        return Invalid("The affinity group was not found.", field="affinity_group_id")
    if "log_target" in constraint:
        return Invalid("The log target was not found.", field="access_log.target_id")
    return Invalid("The flavor or availability zone was not found.")


def find_issues(review: Review, tree: LoadBalancer) -> tuple[Issue, ...]:
    return tuple(Issue(path, reason) for path, reason in review.lacks(tree))


async def references_of(
    connection: Connection,
    review: Review,
    before: LoadBalancer | None,
    after: LoadBalancer | None,
    context: RequestContext,
) -> tuple[Issue, ...]:
    """Which secrets end soon. Raises Invalid for new references that lead nowhere, and Unseen."""
    tree = after or before
    if tree is None or not review.reads_secrets(tree.provider):
        return ()
    if context.seen is not None:
        await copies.mark_changed(connection, before, after)
    if after is None:
        return ()
    found = await references.check(connection, before, after, context.seen)
    return tuple(Issue(path, reason) for path, reason in found)

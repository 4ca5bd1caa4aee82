# SPDX-License-Identifier: Apache-2.0
"""Changes of trees: load or remember, edit, ask the provider, write what differs.

One change is one transaction: the difference is written, the generation raised by one, the work to
do and the event recorded. On an exception, nothing happened; without a difference, nothing is
written. A tree that is remembered is edited without a look, and written on condition that it still
is what is stored; any other is loaded under a lock. What is told of a tree that has changed
meanwhile is never believed: such an edit ends in `Contended`, and is tried again.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg.errors
from msgspec.structs import replace

from colonnade.domain.errors import POLICY, ColonnadeError, Conflict, Contended, Forbidden, NotFound
from colonnade.domain.ids import ProjectId
from colonnade.domain.secrets import uses
from colonnade.domain.shape import LOAD_BALANCERS, Noun
from colonnade.domain.tree import LoadBalancer
from colonnade.store.catalogue import catalogue, quotas
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.requests.context import RequestContext
from colonnade.store.requests.dry_run import DryRunResult
from colonnade.store.rows.difference import Difference, difference
from colonnade.store.rows.tables import ask_children, read_root, with_children
from colonnade.store.trees import changes
from colonnade.store.trees.changes import Change
from colonnade.store.trees.remembered import (
    VERSION,
    Issue,
    Known,
    Remembered,
    ids_asked_for,
    remembered_by,
)
from colonnade.store.trees.wishes import (
    Review,
    Stored,
    end_trial,
    find_issues,
    references_of,
    refusal,
)


class Edit:
    """A tree under change. Assign `tree`; None deletes the whole of it."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.defaults = quotas.UNLIMITED  # for who has none; set by who knows the configuration
        self.context = RequestContext()  # set by who knows the caller
        self._tree: LoadBalancer | None = known.tree
        self._stored: Stored | None = None

    @property
    def before(self) -> LoadBalancer:
        return self.known.tree

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

    @property
    def stored(self) -> Stored:
        """As the change was left by the transaction that wrote it."""
        assert self._stored is not None, "nothing was written"
        return self._stored

    @stored.setter
    def stored(self, stored: Stored) -> None:
        self._stored = stored


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an edit means, before any of it is written."""

    found: Difference
    issues: tuple[Issue, ...] = ()
    at_once: bool = False  # its facts are written with the wish


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What only the transaction knows. `cursor`: of the answer to the statement that wrote."""

    cursor: Any
    issues: tuple[Issue, ...]
    quota: quotas.Row | None


@asynccontextmanager
async def editing(  # noqa: PLR0913 - whose tree, under which rules, and how often tried
    database: Database,
    table: Noun,
    object_id: str,
    *,
    project: ProjectId | None,
    review: Review,
    again: bool = False,
) -> AsyncIterator[Edit]:
    """Change the tree that the named object is part of. `project` None may edit any. Others wait
    meanwhile: within, nothing is waited for. `again`: a race was lost, and none is entered now.

    Raises NotFound, Forbidden, Conflict for a tree that is being deleted, Invalid for a log target
    that is not there, and Contended when another process was quicker, but not if `again`."""
    memory = remembered_by(database)
    async with memory.turn(object_id):
        known = memory.find(object_id)
        if known is None or known.is_shared or again:
            way = _under_lock(database, table, object_id, project, review)
        else:
            way = _on_memory(database, known, project, review)
        try:
            async with way as edit:
                yield edit
        except psycopg.errors.DivisionByZero as error:  # see `changes.write`
            if known is not None:
                memory.lost(known)
            raise Contended("another change was in the way") from error
        except psycopg.errors.IntegrityError as error:
            raise refusal(error) from error


async def look(
    database: Database, table: Noun, object_id: str, *, project: ProjectId | None, fresh: bool
) -> Known:
    """The whole tree that the object is part of, with nothing locked: for what may take long.
    Unless `fresh`, it may be older than what is stored. Raises NotFound, Forbidden, and Conflict
    for a tree that is being deleted."""
    memory = remembered_by(database)
    known = memory.find(object_id)
    if known is not None and (not fresh or await _is_still(database, known)):
        _check_project(known, project)
        return known
    async with database.pipeline() as connection:
        return await _lock(connection, memory, table, object_id, project)


@asynccontextmanager
async def _under_lock(
    database: Database, table: Noun, object_id: str, project: ProjectId | None, review: Review
) -> AsyncIterator[Edit]:
    memory = remembered_by(database)
    async with database.pipeline() as connection:
        edit = Edit(await _lock(connection, memory, table, object_id, project))
        yield edit
        plan = _planned(edit, review)
        if plan.found.is_empty:
            await end_trial(connection, edit.context, _tried(edit, plan, ()))
            return
        written = await _write(connection, edit, plan, review, is_locked=True)
    await _note(memory, edit, plan, written)


@asynccontextmanager
async def _on_memory(
    database: Database, known: Known, project: ProjectId | None, review: Review
) -> AsyncIterator[Edit]:
    edit = Edit(known)
    try:
        _check_project(known, project)
        yield edit
        plan = _planned(edit, review)
    except ColonnadeError:
        await _check_still(database, known)
        raise
    if plan.found.is_empty:
        await _check_still(database, known)
        if edit.context.is_dry_run:
            raise _tried(edit, plan, ())
        return
    if _is_one_statement(edit, plan, review):
        async with database.read() as connection:
            cursor = await _write_difference(connection, edit, plan, plan.issues, guarded=True)
            written = Written(cursor=cursor, issues=plan.issues, quota=known.quota)
    else:
        async with database.pipeline() as connection:
            written = await _write(connection, edit, plan, review, is_locked=False)
    await _note(remembered_by(database), edit, plan, written)


def _check_project(known: Known, project: ProjectId | None) -> None:
    if project is not None and known.tree.project_id != project:
        raise Forbidden(POLICY)


def _planned(edit: Edit, review: Review) -> Plan:
    found = difference(edit.before, edit.after)
    changes_it = edit.after is not None and not found.is_empty
    return Plan(
        found=found,
        issues=find_issues(review, edit.after) if edit.after is not None and changes_it else (),
        at_once=review.settles_at_once(edit.before.provider),
    )


async def _lock(
    connection: Connection,
    memory: Remembered,
    table: Noun,
    object_id: str,
    project: ProjectId | None,
) -> Known:
    """Two statements, for the second must see what whoever held the lock has written."""
    of_root = (
        "%(id)s::uuid"
        if table is LOAD_BALANCERS
        else f"(SELECT load_balancer_id FROM {table.name} WHERE id = %(id)s)"  # noqa: S608
    )
    # Both rows are locked: the one that waited must not go on with the older body.
    locked = await connection.execute(
        "SELECT lb.id, lb.project_id, lb.deleted, lb.body::text, c.generation,"  # noqa: S608
        f" {VERSION}, {quotas.OWN_ROW}"
        " FROM load_balancers lb JOIN clusters c ON c.id = lb.cluster_id"
        f" WHERE lb.id = {of_root} FOR UPDATE OF c, lb",
        {"id": object_id},
    )
    children = await ask_children(connection, of_root, object_id)
    row = await locked.fetchone()
    if row is None:
        raise NotFound(f"{table.noun} {object_id} not found.")
    root_id, owner, deleted, body, generation, version, quota = row
    if project is not None and owner != project:
        raise Forbidden(POLICY)
    if deleted and table is LOAD_BALANCERS:
        raise Conflict(f"Invalid state PENDING_DELETE of loadbalancer resource {root_id}")
    if deleted:
        raise Conflict(f"Load Balancer {root_id} is immutable and cannot be updated.")
    known = memory.find(root_id)
    if known is not None and known.is_as(generation, version):
        known = replace(known, quota=quota, is_shared=False)
    else:
        (tree,) = with_children([read_root(body)], await children.fetchall())
        known = Known(
            tree=tree,
            generation=generation,
            version=version,
            quota=quota,
            is_shared=known is not None and known.is_shared,
        )
    if object_id not in {root_id, *ids_asked_for(known.tree)}:
        # It went while the lock was waited for, and what was read is not all of the tree.
        raise NotFound(f"{table.noun} {object_id} not found.")
    memory.keep(known)
    return known


async def _check_still(database: Database, known: Known) -> None:
    """Raises Contended when the tree is no longer what is remembered."""
    if not await _is_still(database, known):
        remembered_by(database).lost(known)
        raise Contended("another change was in the way")


async def _is_still(database: Database, known: Known) -> bool:
    async with database.read() as connection:
        cursor = await connection.execute(
            "SELECT FROM load_balancers lb JOIN clusters c ON c.id = lb.cluster_id"
            f" WHERE lb.id = %s AND c.generation = %s AND {VERSION} = %s",
            [known.tree.id, known.generation, known.version],
        )
        return await cursor.fetchone() is not None


def _is_one_statement(edit: Edit, plan: Plan, review: Review) -> bool:
    """Whether nothing else must be read or written. A statement is a transaction, and needs no
    round trips to begin and to end it."""
    after, found = edit.after, plan.found
    if after is None or edit.context.is_dry_run or changes.follows_monitors(found):
        return False
    if catalogue.asks_flavor(after, found):
        return False
    if review.reads_secrets(after.provider) and next(uses(after), None) is not None:
        return False
    added = quotas.increase(found)
    if not any(count > 0 for count in added.values()):
        return True
    return edit.known.quota is None and not quotas.bounds(added, edit.defaults)


async def _write(
    connection: Connection, edit: Edit, plan: Plan, review: Review, *, is_locked: bool
) -> Written:
    """Within a transaction. What else is looked at is looked at under the cluster's lock: whoever
    deletes what trees refer to waits for that."""
    before, after, found = edit.before, edit.after, plan.found
    if not is_locked:
        await connection.execute(
            "SELECT FROM clusters WHERE id = %s FOR UPDATE", [before.cluster_id]
        )
    issues, quota, added = plan.issues, edit.known.quota, quotas.increase(found)
    if not is_locked and any(count > 0 for count in added.values()):
        quota = await quotas.read_row(await quotas.ask_row(connection, before.project_id))
    if after is not None:
        issues += await references_of(connection, review, before, after)
    cursor = await _write_difference(connection, edit, plan, issues, guarded=False)
    await catalogue.check_flavor(connection, after or before, found)
    limits = quotas.holding(edit.defaults, quota)
    await quotas.enforce(connection, before.project_id, added, limits)
    await end_trial(connection, edit.context, _tried(edit, plan, issues))
    return Written(cursor=cursor, issues=issues, quota=quota)


def _tried(edit: Edit, plan: Plan, issues: tuple[Issue, ...]) -> DryRunResult:
    reasons = tuple(issue.reason for issue in issues)
    return DryRunResult(edit.before, edit.after, plan.found, reasons)


async def _write_difference(
    connection: Connection, edit: Edit, plan: Plan, issues: tuple[Issue, ...], *, guarded: bool
) -> Any:
    after, known = edit.after, edit.known
    change = Change(
        known.generation + 1,
        "updated" if after is not None else "deleted",
        plan.found,
        plan.at_once,
        known.tree,
        edit.context,
    )
    condition = changes.Condition(
        version=known.version,
        without_quota=guarded and any(n > 0 for n in quotas.increase(plan.found).values()),
    )
    told = None if issues == known.issues else issues
    return await changes.write(connection, after or known.tree, change, condition, told)


async def _note(memory: Remembered, edit: Edit, plan: Plan, written: Written) -> None:
    """What was written is what is known from now on."""
    known, after = edit.known, edit.after
    new = await changes.written(written.cursor)
    edit.stored = Stored(
        tree=after or edit.before,
        generation=known.generation + 1,
        at=new.at,
        applied=new.applied,
        is_noop=plan.at_once,
        issues=written.issues,
        added=plan.found.added,
    )
    now = replace(
        known,
        tree=edit.stored.tree,
        generation=edit.stored.generation,
        version=new.version,
        issues=written.issues,
        quota=written.quota,
    )
    memory.advance(known, now if after is not None else None, plan.found)

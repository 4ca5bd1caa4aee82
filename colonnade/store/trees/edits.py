# SPDX-License-Identifier: Apache-2.0
"""Changes of trees: load or remember, edit, ask the provider, write what differs.

One change is one transaction: the difference is written, the generation raised by one, the work to
do and the event recorded. On an exception, nothing happened; without a difference, nothing is
written. A remembered tree is edited without reading it, and written on condition that it still is
what is stored. Any other tree is locked first, and then caught up with or loaded. An edit of a tree
that has changed meanwhile writes nothing: it ends in `Contended`, and is tried again.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg.errors
from msgspec.structs import replace

from colonnade.domain.catalogue import Sizing
from colonnade.domain.errors import ColonnadeError, Contended
from colonnade.domain.ids import ProjectId
from colonnade.domain.secrets import uses
from colonnade.domain.shape import Noun
from colonnade.domain.tree import LoadBalancer
from colonnade.store.catalogue import catalogue, quotas
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.requests.context import RequestContext
from colonnade.store.requests.dry_run import DryRunResult
from colonnade.store.rows.difference import Difference, difference
from colonnade.store.trees import changes, regrouping
from colonnade.store.trees.changes import Change
from colonnade.store.trees.current import check_project, check_still, lock
from colonnade.store.trees.remembered import Issue, Known, Remembered, remembered_by
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
        # Of projects without quotas of their own; set by the caller, as what follows.
        self.defaults = quotas.UNLIMITED
        self.context = RequestContext()
        self.size: Sizing | None = None  # what another flavor makes of it
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
    added: Mapping[Noun, int]  # how many more of each kind
    issues: tuple[Issue, ...] = ()
    at_once: bool = False  # its facts are written with the wish

    @property
    def has_more(self) -> bool:
        """Whether there is more of any noun, which a quota may refuse."""
        return any(count > 0 for count in self.added.values())


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
    """Change the tree that the named object is part of. `project` None may edit any. Other edits
    of the tree wait meanwhile, so await nothing slow inside. `again`: an earlier try lost a race,
    so this one locks the tree first.

    Raises NotFound, Forbidden, Conflict for a tree that is being deleted, Invalid for a log target
    that is not there, and Contended when another process was quicker, but not if `again`."""
    memory = remembered_by(database)
    async with memory.turn(object_id):
        known = memory.find(object_id)
        if known is None or known.looks or again:
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


@asynccontextmanager
async def _under_lock(
    database: Database, table: Noun, object_id: str, project: ProjectId | None, review: Review
) -> AsyncIterator[Edit]:
    memory = remembered_by(database)
    async with database.pipeline() as connection:
        edit = Edit(await lock(connection, memory, table, object_id, project))
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
        check_project(known, project)
        yield edit
        plan = _planned(edit, review)
    except ColonnadeError:
        await check_still(database, known)
        raise
    if plan.found.is_empty:
        await check_still(database, known)
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


def _planned(edit: Edit, review: Review) -> Plan:
    found = difference(edit.before, edit.after)
    changes_it = edit.after is not None and not found.is_empty
    return Plan(
        found=found,
        added=quotas.increase(found),
        issues=find_issues(review, edit.after) if edit.after is not None and changes_it else (),
        at_once=review.settles_at_once(edit.before.provider),
    )


def _is_one_statement(edit: Edit, plan: Plan, review: Review) -> bool:
    """Whether nothing else must be read or written. A statement is a transaction, and needs no
    round trips to begin and to end it."""
    after, found = edit.after, plan.found
    if after is None or edit.context.is_dry_run or changes.follows_monitors(found):
        return False
    if catalogue.asks_flavor(after, found, edit.before) or regrouping.asks(after, edit.before):
        return False
    if review.reads_secrets(after.provider) and next(uses(after), None) is not None:
        return False
    if edit.context.seen is not None and next(uses(edit.before), None) is not None:
        return False
    if not plan.has_more:
        return True
    return edit.known.quota is None and not quotas.bounds(plan.added, edit.defaults)


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
    issues, quota = plan.issues, edit.known.quota
    if not is_locked and plan.has_more:
        quota = await quotas.read_row(await quotas.ask_row(connection, before.project_id))
    issues += await references_of(connection, review, before, after, edit.context)
    cursor = await _write_difference(connection, edit, plan, issues, guarded=False)
    await catalogue.check_flavor(connection, after or before, found, before)
    if after is not None and regrouping.asks(after, before):
        await regrouping.check(connection, after)
        await regrouping.move(connection, after, before)
    limits = quotas.holding(edit.defaults, quota)
    await quotas.enforce(connection, before.project_id, plan.added, limits)
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
        edit.size,
    )
    condition = changes.Condition(
        version=known.version,
        without_quota=guarded and plan.has_more,
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

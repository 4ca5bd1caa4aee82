# SPDX-License-Identifier: Apache-2.0
"""The statements that write one change of a tree into its rows.

All rows of one table are one part, as one JSON text: a list of parameters would be adapted value by
value. All parts together are one statement. Nothing is read and nothing decided here.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from colonnade.domain.catalogue import Sizing
from colonnade.domain.ids import new_id
from colonnade.domain.shape import BELOW, HEALTH_MONITORS, LOAD_BALANCERS, MEMBERS, Noun
from colonnade.domain.status import Applied, Operating
from colonnade.domain.tree import LoadBalancer
from colonnade.store.fleet import clusters
from colonnade.store.postgres.database import Connection
from colonnade.store.queue import events, work
from colonnade.store.requests import idempotency
from colonnade.store.requests.context import RequestContext
from colonnade.store.rows import history, sentences
from colonnade.store.rows.difference import Difference, Place
from colonnade.store.rows.tables import body_of, json_of, own_body
from colonnade.store.trees.remembered import NEXT_VERSION, VERSION


class Change(msgspec.Struct, frozen=True):
    generation: int
    verb: str
    found: Difference
    at_once: bool  # its facts are written with the wish
    was: LoadBalancer | None = None  # the whole tree, before
    context: RequestContext = RequestContext()
    size: Sizing | None = None  # that its cluster has from now on; None: it stays as it is


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold beside the generation, or nothing is written."""

    version: str  # of the load balancer's row
    without_quota: bool = False  # the project has none of its own


class New(msgspec.Struct, frozen=True):
    """What only the database knows of a change."""

    at: datetime
    version: str  # of the load balancer's row, from now on
    applied: Applied


@cache
def _numbered(text: str, number: int) -> str:
    """A part, with names of parameters that are its own. There are few texts."""
    return f"p{number} AS ({text.replace('%(', f'%({number}_')})"


class Statement:
    """Parts that change rows, gathered into one statement, for each statement costs a wait.

    All parts see the rows as they were before, so no two may change the same row."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._answers: list[str] = []
        self._parameters: dict[str, Any] = {}

    def add(self, text: str, *answers: str, **parameters: Any) -> None:
        """`answers`: what is selected of the part's own rows, each as one value."""
        number = len(self._parts)
        self._parts.append(_numbered(text, number))
        self._parameters |= {f"{number}_{name}": value for name, value in parameters.items()}
        self._answers += [f"(SELECT {answer} FROM p{number})" for answer in answers]  # noqa: S608

    async def execute(self, connection: Connection) -> Any:
        query = f"WITH {', '.join(self._parts)} SELECT {', '.join(self._answers)}"
        return await connection.execute(query.encode(), self._parameters)


async def write_new(
    connection: Connection,
    tree: LoadBalancer,
    change: Change,
    issues: Sequence[Any],
    size: Sizing,
) -> New:
    """All of a new tree, in one statement."""
    statement = Statement()
    _add_root(statement, tree, change, issues, size)
    _add_children(statement, tree, change)
    _add_news(statement, tree, change)
    cursor = await statement.execute(connection)
    at, version, *_ = await cursor.fetchone()
    settled = int(change.at_once)
    return New(at, version, Applied(lowest=settled, highest_settled=settled))


async def write(
    connection: Connection,
    root: LoadBalancer,
    change: Change,
    condition: Condition,
    issues: Sequence[Any] | None,
) -> Any:
    """A change of a tree; `root` is the tree as it shall be, or as it was when it is deleted.
    `issues` None: they stay. A cursor, to be given to `written` once all is committed.
    DivisionByZero: the condition does not hold, and all of the statement is undone."""
    statement = Statement()
    _alter_root(statement, root, change, condition, issues)
    _add_children(statement, root, change)
    _add_news(statement, root, change, condition.version)
    cursor = await statement.execute(connection)
    if follows_monitors(change.found):
        await _follow_monitors(connection, change)
    if change.at_once and change.verb == "deleted":
        await clusters.settle(connection, root.cluster_id, change.generation)
    return cursor


async def written(cursor: Any) -> New:
    _, lowest, settled, failed_at, _, at, version, *_ = await cursor.fetchone()
    return New(at, version, Applied(lowest=lowest, highest_settled=settled, failed_at=failed_at))


def _add_news(statement: Statement, tree: LoadBalancer, change: Change, onto: str = "") -> None:
    """What others learn of the change: who reads events, whoever asks again, who works on it."""
    context = change.context
    after = tree if change.verb != "deleted" else None
    told = sentences.told(change.verb, change.was, after, change.found)
    generation = history.Written(
        load_balancer_id=tree.id,
        generation=change.generation,
        project=context.project,
        user=context.user,
        verb=change.verb,
        what=told,
        changes=history.changes(change.was, tree, change.found) if change.verb != "deleted" else (),
        onto=onto,
    )
    statement.add(history.INSERT, **history.parameters(generation))
    if context.key is not None:
        made = _made(tree, change, context.key.kind)
        key = msgspec.structs.asdict(context.key) | {"object_id": made}
        statement.add(idempotency.INSERT, **key)
    event = events.Event(
        object_kind="load_balancer",
        object_id=tree.id,
        kind=change.verb,
        message=told,
        load_balancer_id=tree.id,
        project_id=tree.project_id,
        generation=change.generation,
    )
    told_of = [event]
    if change.at_once:
        word = "gone" if change.verb == "deleted" else "applied"
        message = f"generation {change.generation} is {word}"
        told_of.append(msgspec.structs.replace(event, kind=word, message=message))
    for one in told_of:
        answer = f"pg_notify('{events.CHANNEL}', id::text)"
        statement.add(events.RECORD, answer, **msgspec.structs.asdict(one))
    if not change.at_once:
        answer = f"pg_notify('{work.CHANNEL}', key)"
        statement.add(work.MARK, answer, key=f"cluster:{tree.cluster_id}", s=0)


def _made(tree: LoadBalancer, change: Change, kind: str) -> str:
    """The object of this kind that a request has made: a request makes one."""
    made = (place.id for place in change.found.added if place.table.kind == kind)
    return tree.id if kind == LOAD_BALANCERS.kind else next(made)


def _add_root(
    statement: Statement,
    tree: LoadBalancer,
    change: Change,
    issues: Sequence[Any],
    size: Sizing,
) -> None:
    statement.add(
        "INSERT INTO clusters (id, provider, topology, amphorae, advert_ms, flavor, per_amphora,"
        " generation, applied_lowest, highest_settled, noop_amphora_id) VALUES (%(id)s,"
        " %(provider)s, %(topology)s, %(amphorae)s, %(advert_ms)s, %(flavor)s, %(per_amphora)s,"
        " 1, %(settled)s, %(settled)s, %(noop)s)",
        id=tree.cluster_id,
        provider=tree.provider,
        **_sized(size),
        settled=int(change.at_once),
        noop=new_id() if change.at_once else None,
    )
    statement.add(
        "INSERT INTO load_balancers"  # noqa: S608 - our own text
        " (id, cluster_id, project_id, body, issues, created, changed)"
        " VALUES (%(id)s, %(cluster)s, %(project)s, %(body)s, %(issues)s, 1, 1)"
        f" RETURNING created_at, {NEXT_VERSION} AS version",
        "created_at",
        "version",
        id=tree.id,
        cluster=tree.cluster_id,
        project=tree.project_id,
        body=body_of(tree),
        issues=json_of(issues),
    )


def _sized(size: Sizing) -> dict[str, Any]:
    """The columns of a cluster that a flavor decides."""
    return {
        "topology": size.topology.value,
        "amphorae": size.amphorae,
        "advert_ms": size.advert_ms,
        "flavor": size.flavor,
        "per_amphora": size.per_amphora,
    }


def _alter_root(
    statement: Statement,
    root: LoadBalancer,
    change: Change,
    condition: Condition,
    issues: Sequence[Any] | None,
) -> None:
    """The root takes part in each generation: a load balancer is ACTIVE when all of it is.

    These two rows are locked by being written, in the order of whoever locks them first. Where one
    is not as it must be, there is none, and the division ends all: the main query asks for the
    answers in their order, before any other part is begun."""
    settled = ", applied_lowest = %(new)s, highest_settled = %(new)s" if change.at_once else ""
    sized = {} if change.size is None else _sized(change.size)
    settled += "".join(f", {name} = %({name})s" for name in sized)
    quota = (
        " AND NOT EXISTS (SELECT FROM quotas WHERE project_id = %(project)s)"
        if condition.without_quota
        else ""
    )
    statement.add(
        f"UPDATE clusters SET generation = %(new)s, deleted = %(deleted)s{settled}"  # noqa: S608
        f" WHERE id = %(id)s AND generation = %(old)s{quota}"
        " RETURNING applied_lowest, highest_settled, failed_at",
        "1 / count(*)",
        "max(applied_lowest)",
        "max(highest_settled)",
        "max(failed_at)",
        id=root.cluster_id,
        old=change.generation - 1,
        new=change.generation,
        deleted=change.verb == "deleted",
        **sized,
        **({"project": root.project_id} if quota else {}),
    )
    altered = (
        ", body = body || %(body)s::jsonb, updated_at = now()" if change.found.root_altered else ""
    )
    statement.add(
        "UPDATE load_balancers lb SET changed = %(new)s, deleted = %(deleted)s"  # noqa: S608
        f"{', issues = %(issues)s' if issues is not None else ''}{altered}"
        f" WHERE lb.id = %(id)s AND {VERSION} = %(version)s"
        f" RETURNING now() AS at, {NEXT_VERSION} AS version",
        "1 / count(*)",
        "max(at)",
        "max(version)",
        id=root.id,
        version=condition.version,
        new=change.generation,
        deleted=change.verb == "deleted",
        **({"issues": json_of(issues)} if issues is not None else {}),
        **({"body": body_of(root)} if altered else {}),
    )


def _add_children(statement: Statement, root: LoadBalancer, change: Change) -> None:
    found, generation = change.found, change.generation
    for table in BELOW:
        added = [place for place in found.added if place.table is table]
        if added:
            _insert(statement, table, root, generation, added)
        altered = [place for place in found.altered if place.table is table]
        if altered:
            statement.add(
                f"UPDATE {table.name} t SET body = t.body || u.body, changed = %(new)s,"  # noqa: S608
                " updated_at = now() FROM jsonb_to_recordset(%(rows)s) AS u (id uuid, body jsonb)"
                " WHERE t.id = u.id",
                new=generation,
                rows=json_of([_Row(id=p.id, body=own_body(p.own)) for p in altered]),
            )
        removed = [place.id for place in found.removed if place.table is table]
        if removed and change.at_once:
            statement.add(f"DELETE FROM {table.name} WHERE {_among(removed)}", ids=_ids(removed))  # noqa: S608
        elif removed:
            _touch(statement, table, removed, "deleted = true, changed = %(new)s", generation)
    written = {place.id for place in (*found.added, *found.altered, *found.removed)}
    for table, touched in found.touched.items():
        if touched - written:
            _touch(statement, table, sorted(touched - written), "changed = %(new)s", generation)


def _touch(
    statement: Statement, table: Noun, ids: Sequence[str], change: str, generation: int
) -> None:
    statement.add(
        f"UPDATE {table.name} SET {change} WHERE {_among(ids)}",  # noqa: S608
        new=generation,
        ids=_ids(ids),
    )


def follows_monitors(found: Difference) -> bool:
    """Whether members get another status by the change."""
    return any(place.table is HEALTH_MONITORS for place in (*found.added, *found.removed))


async def _follow_monitors(connection: Connection, change: Change) -> None:
    """Members of a pool are OFFLINE from the moment that it has a monitor until that speaks, and
    have no monitor from the moment that it has none. Where nothing serves, no monitor speaks."""
    added = () if change.at_once else change.found.added
    for places, status in ((change.found.removed, "NO_MONITOR"), (added, "OFFLINE")):
        pools = [p.parent_id for p in places if p.table is HEALTH_MONITORS and p.parent_id]
        if pools:
            await connection.execute(
                "UPDATE members SET operating_status = %s"
                " WHERE pool_id = ANY(%s::uuid[]) AND NOT deleted"
                " AND (operating_status = 'NO_MONITOR') = (%s = 'OFFLINE')",
                [status, _array(pools), status],
            )


class _Row(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    body: Any
    parent_id: str | None = None
    status: Operating | None = None


def _insert(
    statement: Statement,
    table: Noun,
    root: LoadBalancer,
    generation: int,
    added: Sequence[Place],
) -> None:
    """One part for any number of rows of one table."""
    into, take = (f"{table.parent}, ", "u.parent_id, ") if table.parent else ("", "")
    rows = [_Row(p.id, own_body(p.own), p.parent_id, first_status(p)) for p in added]
    statement.add(
        f"INSERT INTO {table.name} (id, {into}load_balancer_id, project_id, body, created,"  # noqa: S608
        " changed, operating_status)"
        f" SELECT u.id, {take}%(root)s::uuid, %(project)s, u.body, %(new)s, %(new)s, u.status"
        " FROM jsonb_to_recordset(%(rows)s)"
        " AS u (id uuid, parent_id uuid, body jsonb, status text)"
        # What comes back before its deletion was applied still has its row.
        " ON CONFLICT (id) DO UPDATE SET body = EXCLUDED.body, deleted = false,"
        " created = EXCLUDED.created, changed = EXCLUDED.changed, updated_at = now(),"
        " operating_status = EXCLUDED.operating_status"
        f" WHERE {table.name}.deleted"
        f" AND {table.name}.load_balancer_id = EXCLUDED.load_balancer_id",
        root=root.id,
        project=root.project_id,
        new=generation,
        rows=json_of(rows),
    )


def _among(ids: Sequence[str]) -> str:
    """One row is asked for by `=`, not as a list of one: the server knows the length of a list only
    when it has the values, and would plan the whole statement anew each time for large tables."""
    return "id = %(ids)s::uuid" if len(ids) == 1 else "id = ANY(%(ids)s::uuid[])"


def _ids(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else _array(ids)


def _array(ids: Sequence[str]) -> str:
    """Ids as PostgreSQL writes an array; a list would be adapted one by one."""
    return "{" + ",".join(ids) + "}"


def first_status(place: Place) -> Operating:
    if place.table is MEMBERS and not place.monitored:
        return Operating.NO_MONITOR
    return Operating.OFFLINE

# SPDX-License-Identifier: Apache-2.0
"""Routes of flat nouns, made from their descriptions: `domain/flat_nouns.py`.

All of them are listed, made, shown, changed and deleted alike. Where one differs, a function of
its own says so: `Hooks`. What a hook raises refuses the request, and nothing has happened. This
module knows no noun.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import Body, changed, given, set_fields
from colonnade.api.http.lists import Kind, Shown, listed, trimmed
from colonnade.api.resources.derived import Id, answer, change, creation
from colonnade.api.resources.objects import Time
from colonnade.api.resources.resource import Wire, act, resource
from colonnade.domain.attributes import described
from colonnade.domain.errors import Invalid, NotFound
from colonnade.domain.flat import FlatNoun
from colonnade.domain.ids import new_id, read_id
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.times import time
from colonnade.store.rows import flat_rows
from colonnade.store.rows.flat_rows import FlatTable, Stored

T = TypeVar("T", bound=Struct)


class Change(Struct, Generic[T], frozen=True):
    """What is about to be written, in the transaction that writes it."""

    call: Call
    connection: Connection
    body: Body
    value: T
    before: Stored[T] | None = None  # None: it is new


def shown(stored: Stored[Any]) -> Shown:
    """A value as answers have it, unless a hook adds to that."""
    found: Shown = msgspec.structs.asdict(stored.value)
    if stored.project_id is None:
        return found
    owner = {"project_id": stored.project_id, "tenant_id": stored.project_id}
    times = {"created_at": time(stored.created_at), "updated_at": time(stored.updated_at)}
    return found | owner | times


async def _no_more(_change: Change[Any]) -> Mapping[str, Any]:
    return {}


async def _no_one(_connection: Connection, _value: Any) -> None:
    return None


class Hooks(Struct, Generic[T], frozen=True, kw_only=True):
    """What is special about a noun. `bodies` and `answers`: types of what requests and answers
    have besides its attributes. `check` refuses a change, or says what more to write: columns that
    are no attributes. `wake` is told of what is made and of what is deleted."""

    bodies: Mapping[str, Any] = {}
    answers: Mapping[str, Any] = {}
    check: Callable[[Change[T]], Awaitable[Mapping[str, Any]]] = _no_more
    shown: Callable[[Stored[T]], Shown] = shown
    wake: Callable[[Connection, T], Awaitable[None]] = _no_one


class _Plain(Struct, forbid_unknown_fields=True, kw_only=True):
    """What no project owns has its attributes alone."""


class _Owned(_Plain, kw_only=True):
    """What answers have of an owned object besides its attributes."""

    project_id: str
    tenant_id: str
    created_at: Time
    updated_at: Time | None


class _Flat(Struct, frozen=True, kw_only=True):
    """The handlers of one noun."""

    table: FlatTable[Any]
    hooks: Hooks[Any]
    kind: Kind
    creation: type[Body]
    change: type[Body]

    async def list(self, call: Call) -> JSON:
        noun = self.table.noun
        return await listed(call, self.kind, noun.many, links=noun.links)

    async def show(self, call: Call) -> JSON:
        async with call.site.database.read() as connection:
            return await self._answer(call, connection, self._key(call))

    async def create(self, call: Call) -> JSON:
        noun, body = self.table.noun, call.body(self.creation, self.table.noun.one)
        own = {"id": new_id()} if noun.key == "id" else {}
        value = noun.type(**own, **given(body, noun.type))
        owner = {}
        if noun.is_owned:
            asked = body.said("project_id") or body.said("tenant_id")
            owner = {"project_id": call.owner(asked or None)}
        async with call.site.database.transaction() as connection:
            more = await self.hooks.check(Change(call, connection, body, value))
            await flat_rows.insert(connection, self.table, value, **owner, **more)
            await self.hooks.wake(connection, value)
            return await self._answer(call, connection, getattr(value, noun.key))

    async def update(self, call: Call) -> JSON:
        noun, body = self.table.noun, call.body(self.change, self.table.noun.one)
        _refuse_null(noun, body)
        key = self._key(call)
        async with call.site.database.transaction() as connection:
            await flat_rows.lock(connection, noun, key)
            before = await flat_rows.get(connection, self.table, key, project=call.project)
            value = msgspec.structs.replace(before.value, **changed(body, noun.type))
            more = await self.hooks.check(Change(call, connection, body, value, before))
            await flat_rows.update(connection, self.table, value, **more)
            return await self._answer(call, connection, key)

    async def delete(self, call: Call) -> JSON:
        key = self._key(call)
        async with call.site.database.transaction() as connection:
            stored = await flat_rows.get(connection, self.table, key, project=call.project)
            await flat_rows.delete(connection, self.table.noun, key)
            await self.hooks.wake(connection, stored.value)

    async def _answer(self, call: Call, connection: Connection, key: str) -> JSON:
        stored = await flat_rows.get(connection, self.table, key, project=call.project)
        return {self.table.noun.one: trimmed(call, self.hooks.shown(stored))}

    def _key(self, call: Call) -> str:
        """What the path names. Raises NotFound for what can name nothing."""
        noun, text = self.table.noun, call.places[self.table.noun.place]
        if noun.key != "id":
            return text
        try:
            return read_id(text)
        except ValueError as error:
            raise NotFound(f"{noun.named(text)} not found.") from error


def flat_routes(table: FlatTable[Any], hooks: Hooks[Any]) -> list[Route]:
    """The five routes of a flat noun."""
    noun = table.noun
    word = "".join(part.title() for part in noun.name.split("_"))
    own = _Flat(
        table=table,
        hooks=hooks,
        kind=_kind(table, hooks),
        creation=creation(noun.type, f"{word}Create", owned=noun.is_owned, **hooks.bodies),
        change=change(noun.type, f"{word}Update", **hooks.bodies),
    )
    return resource(
        _wire(noun, hooks),
        list=act(noun.list, own.list, f"list_{noun.name}s"),
        create=act(noun.create, own.create, f"create_{noun.name}", takes=own.creation),
        show=act(noun.show, own.show, f"show_{noun.name}"),
        update=act(noun.update, own.update, f"update_{noun.name}", takes=own.change),
        delete=act(noun.delete, own.delete, f"delete_{noun.name}"),
    )


def _kind(table: FlatTable[Any], hooks: Hooks[Any]) -> Kind:
    key = table.noun.key
    return Kind(
        source=table.source,
        find=lambda connection, wanted: flat_rows.find(connection, table, wanted),
        key=lambda stored: str(getattr(stored.value, key)),
        show=hooks.shown,
        key_name=key,
    )


def _wire(noun: FlatNoun[Any], hooks: Hooks[Any]) -> Wire:
    base = _Owned if noun.is_owned else _Plain
    own: dict[str, Any] = {"id": Id} if noun.key == "id" else {}
    name = noun.schema or f"{noun.type.__name__}Object"
    return Wire(
        steps=noun.steps,
        place=noun.place,
        one=noun.one,
        many=noun.many,
        links=noun.links,
        rule=noun.rule,
        object=answer(name, noun.type, base=base, defaults=True, **own, **hooks.answers),
    )


def _refuse_null(noun: FlatNoun[T], body: Body) -> None:
    """Attributes that have no default to go back to, in the contract's words."""
    for name, value in set_fields(body).items():
        one = described(noun.type).get(name)
        if value is None and one is not None and one.required:
            raise Invalid(f"None is not a valid option for {name}")

# SPDX-License-Identifier: Apache-2.0
"""What flavors, availability zones and their profiles have in common as the API shows them.

They are plain rows: shown as they are stored, listed like everything else, and never gone while
something has them. Who may do what is in the route tables of the modules that use this one.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from msgspec import Meta, structs

from colonnade.api.http.call import JSON, Call
from colonnade.api.http.decoding import set_fields
from colonnade.api.http.lists import Kind, Shown, listed, trimmed
from colonnade.domain.catalogue import NO_ID
from colonnade.domain.errors import Invalid, NotFound
from colonnade.domain.ids import read_id
from colonnade.domain.limits import PROFILE_DATA_MAX, TEXT_MAX
from colonnade.store.catalogue import catalogue
from colonnade.store.catalogue.catalogue import Offer, Shelf

T = TypeVar("T", bound=Offer)

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
Data: TypeAlias = Annotated[str, Meta(max_length=PROFILE_DATA_MAX)]


def key_of(call: Call, shelf: Shelf[Any]) -> str:
    """What the path names. Raises NotFound for what can name nothing."""
    text = call.places["key"]
    if shelf.key != "id":
        return text
    try:
        key = read_id(text)
    except ValueError as error:
        raise NotFound(f"{shelf.noun} {text} not found.") from error
    if key == NO_ID:
        raise NotFound(f"{shelf.noun} {key} not found.")
    return key


async def page(call: Call, shelf: Shelf[Any], word: str, links: str = "") -> JSON:
    kind = Kind(
        source=catalogue.SOURCES[shelf.table],
        find=lambda connection, wanted: catalogue.find(connection, shelf, wanted),
        key=lambda value: str(getattr(value, shelf.key)),
        show=structs.asdict,
        key_name=shelf.key,
    )
    return await listed(call, kind, word, links=links)


async def one(call: Call, shelf: Shelf[Any], wrapper: str) -> JSON:
    async with call.site.database.read() as connection:
        return answer(call, await catalogue.get(connection, shelf, key_of(call, shelf)), wrapper)


async def create(call: Call, shelf: Shelf[T], value: T, wrapper: str) -> JSON:
    async with call.site.database.transaction() as connection:
        await catalogue.insert(connection, shelf, value)
    return answer(call, value, wrapper)


async def update(
    call: Call, shelf: Shelf[T], changes: Mapping[str, Any], wrapper: str, *, unused: bool = False
) -> JSON:
    """`unused`: only when nothing refers to it."""
    key = key_of(call, shelf)
    async with call.site.database.transaction() as connection:
        if unused:
            await catalogue.lock_unused(connection, shelf, key)
        value = structs.replace(await catalogue.get(connection, shelf, key), **changes)
        await catalogue.update(connection, shelf, value)
    return answer(call, value, wrapper)


async def after(call: Call, shelf: Shelf[Any], body: Any, *names: str) -> list[Any]:
    """These attributes as the body would leave them. Raises NotFound."""
    async with call.site.database.read() as connection:
        value = await catalogue.get(connection, shelf, key_of(call, shelf))
    fields = set_fields(body)
    return [fields.get(name, getattr(value, name)) for name in names]


async def delete(call: Call, shelf: Shelf[Any]) -> JSON:
    async with call.site.database.transaction() as connection:
        await catalogue.delete(connection, shelf, key_of(call, shelf))


def answer(call: Call, value: Offer, wrapper: str) -> JSON:
    shown: Shown = structs.asdict(value)
    return {wrapper: trimmed(call, shown)}


def refuse_null(body: Any, *names: str) -> None:
    """Attributes that have no default to go back to, in the contract's words."""
    fields = set_fields(body)
    for name in names:
        if name in fields and fields[name] is None:
            raise Invalid(f"None is not a valid option for {name}")

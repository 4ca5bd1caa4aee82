# SPDX-License-Identifier: Apache-2.0
"""Flavors, availability zones and their profiles as rows.

The four kinds are kept alike: a value's fields are its table's columns. What uses what is held
together by the database's own references, so that nothing in use can go, whoever asks first.
What a profile's data means is not known here.
"""

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
import psycopg.errors

from colonnade.domain.catalogue import (
    AvailabilityZone,
    AvailabilityZoneProfile,
    Flavor,
    FlavorFacts,
    FlavorProfile,
)
from colonnade.domain.errors import Conflict, Invalid, NotFound
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Member
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import LenientDecoder
from colonnade.store.postgres.listing import Source, Wanted
from colonnade.store.queue import work
from colonnade.store.rows.difference import Difference

Offer: TypeAlias = FlavorProfile | Flavor | AvailabilityZoneProfile | AvailabilityZone
T = TypeVar("T", bound=Offer)

_FLAVOR_FACTS: Final[LenientDecoder[FlavorFacts]] = LenientDecoder(FlavorFacts)


class Shelf(msgspec.Struct, Generic[T], frozen=True):
    """One kind of offer: its table, its name in sentences, its value, what names one."""

    table: str
    noun: str
    type: type[T]
    key: str = "id"
    profiles: str = ""  # the table of the profiles that each one refers to

    @property
    def columns(self) -> tuple[str, ...]:
        return self.type.__struct_fields__

    @property
    def profile_key(self) -> str:
        return f"{self.profiles[:-1]}_id"


FLAVOR_PROFILES: Final = Shelf("flavor_profiles", "Flavor profile", FlavorProfile)
FLAVORS: Final = Shelf("flavors", "Flavor", Flavor, profiles="flavor_profiles")
ZONE_PROFILES: Final = Shelf(
    "availability_zone_profiles", "Availability Zone profile", AvailabilityZoneProfile
)
ZONES: Final = Shelf(
    "availability_zones",
    "Availability Zone",
    AvailabilityZone,
    key="name",
    profiles="availability_zone_profiles",
)
SHELVES: Final[tuple[Shelf[Any], ...]] = (FLAVOR_PROFILES, FLAVORS, ZONE_PROFILES, ZONES)


def _source(shelf: Shelf[Any]) -> Source:
    ids = frozenset(name for name in shelf.columns if name == "id" or name.endswith("_id"))
    return Source(
        columns=", ".join(f"t.{name}" for name in shelf.columns),
        place=f" FROM {shelf.table} t",
        attributes={name: f"t.{name}" for name in shelf.columns},
        ids=ids,
        key=f"t.{shelf.key}",
        last=("t.id",) if shelf.key == "id" else ("t.created_at", f"t.{shelf.key}"),
    )


SOURCES: Final[Mapping[str, Source]] = {shelf.table: _source(shelf) for shelf in SHELVES}


async def find(connection: Connection, shelf: Shelf[T], wanted: Wanted) -> list[T]:
    found = await listing.rows(connection, SOURCES[shelf.table], wanted)
    return [_read(shelf, row) for row in found]


async def get(connection: Connection, shelf: Shelf[T], key: str) -> T:
    """Raises NotFound."""
    row = await listing.row(connection, SOURCES[shelf.table], key)
    if row is None:
        raise NotFound(f"{shelf.noun} {key} not found.")
    return _read(shelf, row)


async def insert(connection: Connection, shelf: Shelf[T], value: T) -> None:
    """Raises Conflict for a name that is taken, Invalid for a profile that is not there."""
    names, values = ", ".join(shelf.columns), ", ".join(f"%({n})s" for n in shelf.columns)
    try:
        await connection.execute(
            f"INSERT INTO {shelf.table} ({names}) VALUES ({values})".encode(),  # noqa: S608
            msgspec.structs.asdict(value),
        )
    except psycopg.errors.UniqueViolation as error:
        raise _taken(shelf, value) from error
    except psycopg.errors.ForeignKeyViolation as error:
        profile = getattr(value, shelf.profile_key)
        noun = next(other.noun for other in SHELVES if other.table == shelf.profiles)
        raise Invalid(f"{noun} {profile} not found.") from error
    await _wake_spares(connection, value)


async def update(connection: Connection, shelf: Shelf[T], value: T) -> None:
    """Raises Conflict for a name that is taken."""
    pairs = ", ".join(f"{name} = %({name})s" for name in shelf.columns if name != shelf.key)
    try:
        await connection.execute(
            f"UPDATE {shelf.table} SET {pairs} WHERE {shelf.key} = %({shelf.key})s".encode(),  # noqa: S608
            msgspec.structs.asdict(value),
        )
    except psycopg.errors.UniqueViolation as error:
        raise _taken(shelf, value) from error


async def delete(connection: Connection, shelf: Shelf[T], key: str) -> None:
    """Raises NotFound, and Conflict while something has it."""
    value = await get(connection, shelf, key)
    try:
        await connection.execute(
            f"DELETE FROM {shelf.table} WHERE {shelf.key} = %s".encode(),  # noqa: S608
            [key],
        )
    except psycopg.errors.ForeignKeyViolation as error:
        raise in_use(shelf, key) from error
    await _wake_spares(connection, value)


async def lock_unused(connection: Connection, shelf: Shelf[Any], key: str) -> None:
    """Until the transaction ends, nothing refers to this profile. Raises Conflict when something
    does, NotFound when there is no such profile."""
    cursor = await connection.execute(
        f"SELECT FROM {shelf.table} WHERE {shelf.key} = %s FOR UPDATE",
        [key],
    )
    if await cursor.fetchone() is None:
        raise NotFound(f"{shelf.noun} {key} not found.")
    user = next(other for other in SHELVES if other.profiles == shelf.table)
    cursor = await connection.execute(
        f"SELECT FROM {user.table} WHERE {user.profile_key} = %s LIMIT 1",
        [key],
    )
    if await cursor.fetchone() is not None:
        raise in_use(shelf, key)


def in_use(shelf: Shelf[Any], key: str) -> Conflict:
    return Conflict(f"{shelf.noun} {key} is in use and cannot be modified.")


async def flavor_facts(connection: Connection, flavor_id: str) -> FlavorFacts | None:
    """What a flavor's profile says. None: no such flavor, or words only another provider knows."""
    cursor = await connection.execute(
        """SELECT p.flavor_data FROM flavors f
        JOIN flavor_profiles p ON p.id = f.flavor_profile_id WHERE f.id = %s""",
        [flavor_id],
    )
    row = await cursor.fetchone()
    try:
        return None if row is None else _FLAVOR_FACTS.decode(row[0])
    except msgspec.ValidationError:
        return None


async def check_flavor(connection: Connection, tree: LoadBalancer, found: Difference) -> None:
    """Raises Invalid for a new or changed object beyond what the tree's flavor allows."""
    if not asks_flavor(tree, found):
        return
    sriov, listeners = _with_sriov(found), _listeners(found)
    facts = await flavor_facts(connection, tree.flavor_id) if tree.flavor_id else None
    if sriov and not (facts is not None and facts.allow_member_sriov):
        raise Invalid("The load balancer's flavor does not allow members with SR-IOV ports.")
    bound = None if facts is None else facts.connection_limit_max
    if bound is not None and any(not 0 <= x.connection_limit <= bound for x in listeners):
        raise Invalid(
            f"connection_limit must be given and at most {bound}, as the flavor says",
            field="connection_limit",
        )


def asks_flavor(tree: LoadBalancer, found: Difference) -> bool:
    """Whether a flavor may have something against it."""
    return _with_sriov(found) or (tree.flavor_id is not None and bool(_listeners(found)))


def _with_sriov(found: Difference) -> bool:
    return any(isinstance(p.own, Member) and p.own.request_sriov for p in found.added)


def _listeners(found: Difference) -> list[Listener]:
    return [p.own for p in (*found.added, *found.altered) if isinstance(p.own, Listener)]


async def _wake_spares(connection: Connection, value: Offer) -> None:
    """A flavor's spares are kept from its first day, and until its last."""
    if isinstance(value, Flavor):
        await work.mark(connection, f"spares:{value.id}")


def _taken(shelf: Shelf[Any], value: Any) -> Conflict:
    return Conflict(f"A {shelf.noun.lower()} of {value.name} already exists.")


def _read(shelf: Shelf[T], row: Any) -> T:
    return shelf.type(**dict(zip(shelf.columns, row, strict=True)))

# SPDX-License-Identifier: Apache-2.0
"""What is special about the rows of flavors, availability zones and their profiles.

The rows are read and written as those of all flat nouns (`store/rows/flat_rows.py`). Here is which
refers to which, and what a flavor's profile says of trees and spares. What other data means is not
known here.
"""

import contextlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from colonnade.domain import flat_nouns
from colonnade.domain.catalogue import DEFAULT_FLAVOR, Flavor, FlavorFacts
from colonnade.domain.errors import Invalid
from colonnade.domain.listeners import Listener
from colonnade.domain.outdated import Wanted
from colonnade.domain.pools import Member
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.lenient import LenientDecoder
from colonnade.store.queue import work
from colonnade.store.rows import flat_rows
from colonnade.store.rows.difference import Difference
from colonnade.store.rows.flat_rows import FlatTable

_FLAVOR_FACTS: Final[LenientDecoder[FlavorFacts]] = LenientDecoder(FlavorFacts)


FLAVOR_PROFILES: Final = FlatTable(noun=flat_nouns.FLAVOR_PROFILES)
FLAVORS: Final = FlatTable(
    noun=flat_nouns.FLAVORS, refers={"flavor_profile_id": flat_nouns.FLAVOR_PROFILES}
)
ZONE_PROFILES: Final = FlatTable(noun=flat_nouns.ZONE_PROFILES)
ZONES: Final = FlatTable(
    noun=flat_nouns.ZONES, refers={"availability_zone_profile_id": flat_nouns.ZONE_PROFILES}
)


async def check_unused(connection: Connection, users: FlatTable[Any], profile_id: str) -> None:
    """Until the transaction ends, none of these users has this profile. Raises Conflict."""
    ((column, profiles),) = users.refers.items()
    await connection.execute(
        f"SELECT FROM {profiles.table} WHERE id = %s FOR UPDATE",
        [profile_id],
    )
    cursor = await connection.execute(
        f"SELECT FROM {users.noun.table} WHERE {column} = %s LIMIT 1".encode(),
        [profile_id],
    )
    if await cursor.fetchone() is not None:
        raise flat_rows.in_use(profiles, profile_id)


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


async def spare_targets(connection: Connection) -> dict[str, int]:
    """How many spares the flavors' profiles ask for, by the flavor; those that ask for none are
    left out."""
    found = await all_flavor_facts(connection)
    sizes = {flavor_id: facts.spare_pool_size for flavor_id, facts in found.items()}
    return {flavor_id: size for flavor_id, size in sizes.items() if size}


async def all_flavor_facts(connection: Connection) -> dict[str, FlavorFacts]:
    """What each flavor's profile says, by the flavor; words that only another provider knows are
    left out."""
    cursor = await connection.execute(
        """SELECT f.id, p.flavor_data FROM flavors f
        JOIN flavor_profiles p ON p.id = f.flavor_profile_id"""
    )
    found = {}
    for flavor_id, text in await cursor.fetchall():
        with contextlib.suppress(msgspec.ValidationError):
            found[flavor_id] = _FLAVOR_FACTS.decode(text)
    return found


async def wanted_of(connection: Connection, flavor: str, release: str) -> Wanted:
    """What an amphora of the flavor is made of where this release makes it."""
    if flavor == DEFAULT_FLAVOR:
        return Wanted.of(release, FlavorFacts())
    return Wanted.of(release, await flavor_facts(connection, flavor))


async def all_wanted(connection: Connection, release: str) -> dict[str, Wanted]:
    """The same of each flavor, the default one included."""
    facts = {DEFAULT_FLAVOR: FlavorFacts(), **await all_flavor_facts(connection)}
    return {flavor: Wanted.of(release, one) for flavor, one in facts.items()}


async def check_flavor(
    connection: Connection,
    tree: LoadBalancer,
    found: Difference,
    before: LoadBalancer | None = None,
) -> None:
    """Raises Invalid for a new or changed object beyond what the tree's flavor allows; for any,
    where the flavor is another than it was `before`."""
    if not asks_flavor(tree, found, before):
        return
    is_another = _is_another(tree, before)
    sriov = _with_sriov(tree.members if is_another else _new_members(found))
    listeners = tree.listeners if is_another else _listeners(found)
    facts = await flavor_facts(connection, tree.flavor_id) if tree.flavor_id else None
    if sriov and not (facts is not None and facts.allow_member_sriov):
        raise Invalid("The load balancer's flavor does not allow members with SR-IOV ports.")
    bound = None if facts is None else facts.connection_limit_max
    if bound is not None and any(not 0 <= x.connection_limit <= bound for x in listeners):
        raise Invalid(
            f"connection_limit must be given and at most {bound}, as the flavor says",
            field="connection_limit",
        )


def asks_flavor(tree: LoadBalancer, found: Difference, before: LoadBalancer | None = None) -> bool:
    """Whether a flavor may have something against it."""
    if _is_another(tree, before) or _with_sriov(_new_members(found)):
        return True
    return tree.flavor_id is not None and bool(_listeners(found))


def _is_another(tree: LoadBalancer, before: LoadBalancer | None) -> bool:
    return before is not None and before.flavor_id != tree.flavor_id


def _with_sriov(members: Iterable[Member]) -> bool:
    return any(member.request_sriov for member in members)


def _new_members(found: Difference) -> list[Member]:
    return [place.own for place in found.added if isinstance(place.own, Member)]


def _listeners(found: Difference) -> list[Listener]:
    return [p.own for p in (*found.added, *found.altered) if isinstance(p.own, Listener)]


async def wake_spares(connection: Connection, flavor: Flavor) -> None:
    """A flavor's spares are kept from its first day, and until its last."""
    await work.mark(connection, f"spares:{flavor.id}")

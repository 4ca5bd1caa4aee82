# SPDX-License-Identifier: Apache-2.0
"""Keep as many amphorae ready as are configured, and as many more as clusters wait for.

An amphora that boots counts as ready, so that a second look does not make more of them. Outdated
spares go one at a time, each when another is ready in its place. Clusters that share amphorae get
their seats here, and wait for a spare where none has room. This module writes rows only;
others boot and remove amphorae because of the rows.
"""

import secrets
from collections.abc import Sequence
from typing import Final

from colonnade.controller import account
from colonnade.domain.catalogue import DEFAULT_FLAVOR, FlavorFacts
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId, new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.drivers.secrets.database import Seal
from colonnade.store.catalogue import catalogue
from colonnade.store.fleet import amphora_rows, seats
from colonnade.store.postgres.database import Connection, Database

AT_ONCE_MAX: Final = 8  # new amphorae in one pass
LOOK_S: Final = 30.0
KEY_BYTES: Final = 32
SPARE_FRESH_S: Final = 75.0  # heard from since: it may carry something


def plan(target: int, ready: Sequence[Amphora]) -> tuple[int, Sequence[Amphora]]:
    """How many are to be added, and which are to go. `ready`: the oldest first; those that boot
    are among them."""
    booting = [a for a in ready if a.state is State.BOOTING]
    spares = [a for a in ready if a.state is State.SPARE]
    # Nothing but being outdated is mended by a replacement.
    stale = [a for a in spares if a.outdated_since is not None]
    fresh = [a for a in spares if a.outdated_since is None]
    missing = target - len(ready)
    if missing > 0:
        return missing, ()
    if missing == 0:  # one more, and an old one goes when that is ready
        return int(bool(stale) and not booting), ()
    surplus = -missing - int(bool(stale) and bool(booting))
    return 0, [*stale, *reversed(booting), *reversed(fresh)][:surplus]


class Spares:
    """The reconciler of `spares:<flavor>`."""

    def __init__(self, database: Database, seal: Seal, count: int) -> None:
        self._database = database
        self._seal = seal
        self._count = count

    async def reconcile(self, name: str) -> float | None:
        async with self._database.transaction() as connection:
            await amphora_rows.lock_flavor(connection, name)  # or two controllers would both add
            facts = await self._facts(connection, name)
            target = self._kept(facts, name) + await self._unmet(connection, facts, name)
            found = await amphora_rows.of_flavor(connection, name)
            unlent = [a for a in found if a.state is not State.CARRYING]
            ready = [a for a in unlent if a.state in (State.SPARE, State.BOOTING)]
            missing, surplus = plan(target, ready)
            account.looked(f"{target} ready", f"{len(ready)} ready or booting")
            change = missing - len(surplus)
            account.planned(f"{change:+d}" if change else "nothing")
            for _ in range(min(missing, AT_ONCE_MAX)):
                await self._add(connection, name)
            for amphora in surplus:
                await amphora_rows.advance(connection, amphora, Event.RELEASED)
        if missing > AT_ONCE_MAX:
            return 0.0
        # A flavor may end; whoever needs one of it marks the key again.
        return LOOK_S if target or unlent or name == DEFAULT_FLAVOR else None

    async def _facts(self, connection: Connection, flavor: str) -> FlavorFacts:
        if flavor == DEFAULT_FLAVOR:
            return FlavorFacts()
        return await catalogue.flavor_facts(connection, flavor) or FlavorFacts()

    def _kept(self, facts: FlavorFacts, flavor: str) -> int:
        """How many are to be ready: as configured, or as the flavor's profile says."""
        return self._count if flavor == DEFAULT_FLAVOR else facts.spare_pool_size or 0

    async def _unmet(self, connection: Connection, facts: FlavorFacts, flavor: str) -> int:
        """How many more clusters wait for."""
        if facts.max_load_balancers == 1:
            return await amphora_rows.unmet_demand(connection, flavor)
        return await seats.allot(connection, flavor, self._sealed_key, SPARE_FRESH_S)

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Spares have no owner to be told; the loop has logged the failure."""

    async def _add(self, connection: Connection, flavor: str) -> None:
        amphora = Amphora(id=AmphoraId(new_id()), state=State.BOOTING, flavor=flavor)
        await amphora_rows.insert(connection, amphora, self._sealed_key(amphora.id))

    def _sealed_key(self, amphora_id: AmphoraId) -> bytes:
        return self._seal.seal(secrets.token_bytes(KEY_BYTES), amphora_id)

# SPDX-License-Identifier: Apache-2.0
"""Our copies of secrets in a cloud's key manager are kept up: another content is rolled out, who
uses one is registered there, and one that nothing uses goes.

Invariant: what was served is served on, whatever the key manager says or does not say. A consumer
is written down before it is registered, and struck out after it was deregistered, so a lost answer
leaves nobody registered for ever.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import structlog
from msgspec.structs import replace

from colonnade.controller import account
from colonnade.domain.errors import ColonnadeError, Invalid, NotFound
from colonnade.domain.secrets import READERS, Secret
from colonnade.drivers.secrets.database import Seal
from colonnade.drivers.secrets.key_manager import Consumer, KeyManager
from colonnade.drivers.secrets.material import Material, read_material
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.requests.context import RequestContext
from colonnade.store.secrets import copies, references, secrets
from colonnade.store.secrets.secrets import User

NOTICED: Final = RequestContext(user="colonnade")
GONE: Final = (
    "it is no longer in the key manager, or this service may not read all of it there; what was "
    "served is served on"
)
UNFIT: Final = "its new content is of no use, what was served is served on"

log = structlog.get_logger()


class Copies:
    """The reconciler of `copy:<id>`. `look_s`: between two looks at one of them."""

    def __init__(
        self, database: Database, seal: Seal, key_manager: KeyManager, look_s: float
    ) -> None:
        self._database = database
        self._seal = seal
        self._key_manager = key_manager
        self._look_s = look_s

    async def reconcile(self, name: str) -> float | None:
        async with self._database.read() as connection:
            copy = await copies.find(connection, name)
            users = await _users(connection, copy) if copy else []
        if copy is None:
            account.looked("a copy of a secret", "none: nothing uses it any more")
            return None
        await self._register(copy, {Consumer(user.table, user.id) for user in users})
        if not users:
            account.looked("a copy of a secret", "one that nothing uses")
            return await self._forget(copy)
        await self._look(copy)
        return self._look_s

    async def record(self, name: str, error: ColonnadeError, _retry_in_s: float) -> None:
        """Such as a master key that opens nothing: the owner sees it too."""
        async with self._database.read() as connection:
            copy = await copies.find(connection, name)
        if copy is not None:
            await self._give_reason(copy, error.public)

    async def _look(self, copy: Secret) -> None:
        try:
            upload = await self._key_manager.read(copy.source)
            material = read_material(copy.type, upload, datetime.now(UTC))
        except NotFound:
            await self._give_reason(copy, GONE)
            return
        except Invalid as error:
            await self._give_reason(copy, f"{UNFIT}: {error.public}")
            return
        if await self._is_known(copy, material):
            account.looked("a copy of a secret", "as it is kept")
            await self._give_reason(copy, "")
            return
        account.planned("to serve its new content")
        try:
            await self._put(copy, material)
        except Invalid as error:
            await self._give_reason(copy, f"{UNFIT}: {error.public}")

    async def _is_known(self, copy: Secret, material: Material) -> bool:
        async with self._database.read() as connection:
            kept = (await secrets.contents(connection, [copy.id])).get(copy.id)
        return kept is None or (
            self._seal.disclose(kept.envelope, copy.id).decode() == material.pem
        )

    async def _put(self, copy: Secret, material: Material) -> None:
        """Raises Invalid for one that does not go with what is beside it."""
        envelope = self._seal.enclose(material.pem.encode(), copy.id)
        woken: set[str] = set()
        while True:
            async with self._database.transaction() as connection:
                there = await copies.lock(connection, copy.id)
                if there is None:
                    return
                there = replace(there, facts=material.facts)
                there = await copies.set_content(connection, there, envelope, material.public)
                users = [u for u in await _users(connection, there) if u.id not in woken]
                await references.check_users(connection, users)
                await secrets.wake_users(connection, there, users, NOTICED)
            # Whoever began to use it as this was written may have been served what was before.
            if not users:
                break
            woken |= {user.id for user in users}
            await self._note(users)
        log.info("another content", secret=copy.source, project_id=copy.project_id)

    async def _register(self, copy: Secret, wanted: set[Consumer]) -> None:
        async with self._database.transaction() as connection:
            known = {_consumer(text) for text in await copies.consumers(connection, copy.id)}
            if known | wanted != known:
                told = [_word(one) for one in known | wanted]
                await copies.set_consumers(connection, copy.id, told)
        for one in sorted(known - wanted):
            try:
                await self._key_manager.deregister(copy.source, one)
            except NotFound as error:
                log.warning("a consumer stays registered", secret=copy.source, error=str(error))
        for one in sorted(wanted):
            try:
                await self._key_manager.register(copy.source, one)
            except NotFound as error:
                log.warning("a consumer is not registered", secret=copy.source, error=str(error))
        if known != wanted:
            async with self._database.transaction() as connection:
                await copies.set_consumers(connection, copy.id, [_word(one) for one in wanted])

    async def _forget(self, copy: Secret) -> float | None:
        async with self._database.transaction() as connection:
            wait_s = await copies.forget(connection, copy.id)
        return wait_s or None

    async def _give_reason(self, copy: Secret, reason: str) -> None:
        """The listeners and pools that use it say so."""
        async with self._database.transaction() as connection:
            if not await copies.give_reason(connection, copy.id, reason):
                return
            users = await _users(connection, copy)
        if reason:
            log.warning("a secret is not as it was", secret=copy.source, reason=reason)
        await self._note(users)

    async def _note(self, users: Collection[User]) -> None:
        for load_balancer_id in sorted({user.load_balancer_id for user in users}):
            async with self._database.transaction() as connection:
                await references.note(connection, load_balancer_id)


async def _users(connection: Connection, copy: Secret) -> list[User]:
    found = await secrets.users(connection, copy)
    return [user for user in found if user.provider in READERS]


def _word(one: Consumer) -> str:
    return f"{one.kind}/{one.id}"


def _consumer(text: str) -> Consumer:
    kind, _, which = text.partition("/")
    return Consumer(kind, which)

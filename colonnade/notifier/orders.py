# SPDX-License-Identifier: Apache-2.0
"""Certificates are ordered, and renewed in time.

One pass of `certificate:<id>` is one attempt at most, and it is written down before it begins: an
issuer is never asked more often than `domain/ordering.py` says, whatever ends this process. Nothing
is ordered before a load balancer can answer for the names. What was served goes on being served
until the new one is in its place, as if its owner had uploaded it.
"""

import asyncio
import random
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from msgspec.structs import replace

from colonnade.controller import account
from colonnade.domain.errors import ColonnadeError, Invalid
from colonnade.domain.ordering import pause_s, renewal_at
from colonnade.domain.secrets import Secret, SecretType
from colonnade.drivers.issuers.protocol import Account, Issuer, NotIssued
from colonnade.drivers.secrets.database import Seal
from colonnade.drivers.secrets.material import Material, Upload, read_material
from colonnade.drivers.secrets.ordered import Request
from colonnade.store.postgres.database import Database
from colonnade.store.requests.context import RequestContext
from colonnade.store.secrets import orders, references, secrets
from colonnade.store.secrets.secrets import User

LOOK_S: Final = 2.0  # until a load balancer can answer
SELDOM_S: Final = 60.0  # when nobody has made one for a while
SOON: Final = timedelta(minutes=10)
AT_ONCE: Final = 4
BUSY_S: Final = 3.0
LONGEST_S: Final = 86_400.0  # between two looks
ORDERED: Final = RequestContext(user="colonnade")  # who asks for what the system does by itself

log = structlog.get_logger()


class Orders:
    """The reconciler of `certificate:<id>`. `lack`: why nothing can be ordered here."""

    look_s = LOOK_S

    def __init__(self, database: Database, seal: Seal, issuer: Issuer, lack: str = "") -> None:
        self._database = database
        self._seal = seal
        self._issuer = issuer
        self._lack = lack
        self._open = asyncio.Semaphore(AT_ONCE)

    async def reconcile(self, name: str) -> float | None:
        now = datetime.now(UTC)
        async with self._database.read() as connection:
            secret = await orders.find(connection, name)
            users = await secrets.users(connection, secret) if secret else ()
            lack = self._lack or await orders.lacks(connection, users)
        if secret is None:
            account.looked("a certificate to order", "none: it was deleted, or uploaded")
            return None
        due = secret.order.next_order_at
        if due is not None and due > now:
            account.looked("a certificate to order", "one that is not due")
            return min(LONGEST_S, (due - now).total_seconds())
        if lack:
            account.looked("a certificate to order", "one that nobody can answer for")
            await self._give_reason(secret, users, lack)
            return self._patience_s(secret, now)
        if self._open.locked():
            return BUSY_S
        async with self._open:
            account.planned("to order it")
            return await self._attempt(secret, users)

    async def record(self, name: str, error: ColonnadeError, _retry_in_s: float) -> None:
        """Such as a key that does not open: the owner sees it too."""
        async with self._database.read() as connection:
            secret = await orders.find(connection, name)
            users = await secrets.users(connection, secret) if secret else ()
        if secret is not None:
            await self._give_reason(secret, users, error.public)

    async def _attempt(self, secret: Secret, users: Collection[User]) -> float:
        wait_s = pause_s(secret.order.order_attempts + 1, random.random())  # noqa: S311 - no secret
        next_at = datetime.now(UTC) + timedelta(seconds=wait_s)
        async with self._database.transaction() as connection:
            await orders.begin(connection, secret.id, next_at)
        try:
            material = await self._ordered(secret)
        except NotIssued as error:
            log.warning("no certificate", secret_id=secret.id, error=error.public)
            await self._give_reason(secret, users, error.public)
            if error.after_s > wait_s:
                wait_s = error.after_s
                next_at = datetime.now(UTC) + timedelta(seconds=wait_s)
                async with self._database.transaction() as connection:
                    await orders.set_next(connection, secret.id, next_at)
            return wait_s
        return await self._put(secret, material)

    async def _ordered(self, secret: Secret) -> Material:
        """Raises NotIssued."""
        request = Request.new(secret.order.host_names)
        known = await self._account()
        chain = await self._issuer.issue(known, request.csr_pem, secret.order.host_names)
        try:
            given = Upload(pem=chain + request.key_pem)
            return read_material(SecretType.CERTIFICATE, given, datetime.now(UTC))
        except Invalid as error:
            raise NotIssued(f"The issuer's certificate is of no use: {error.public}") from error

    async def _account(self) -> Account:
        """Registered with the issuer of now. Raises NotIssued."""
        async with self._database.transaction() as connection:
            await orders.have_account(connection, self._seal)
            row = await orders.account(connection)
        assert row is not None, "it was just made"
        key_pem = self._seal.unseal(row.key, row.id).decode()
        directory = self._issuer.directory
        if row.directory == directory and row.uri:
            return Account(key_pem, row.uri)
        registered = await self._issuer.register(Account(key_pem))
        async with self._database.transaction() as connection:
            await orders.registered(connection, row.id, directory, registered.uri)
        log.info("registered", directory=directory, account=registered.uri)
        return registered

    async def _put(self, ordered: Secret, material: Material) -> float:
        """In the place of what was there, unless something else was wished meanwhile."""
        facts = material.facts
        renewed_at = renewal_at(facts.not_before, facts.not_after, random.random())  # noqa: S311
        async with self._database.transaction() as connection:
            secret = await secrets.lock(connection, ordered.id, None)
            if secret.order.host_names != ordered.order.host_names:
                return 0.0
            order = replace(
                secret.order,
                stand_in=False,
                order_attempts=0,
                next_order_at=renewed_at,
                order_reason="",
            )
            secret = replace(secret, facts=facts, order=order)
            envelope = self._seal.enclose(material.pem.encode(), secret.id)
            await secrets.update(connection, secret, envelope, material.public)
            users = await secrets.users(connection, secret)
            await secrets.wake_users(connection, secret, users, ORDERED)
        await self._note(users)
        log.info("issued", secret_id=secret.id, until=facts.not_after, renewal=renewed_at)
        return max(0.0, min(LONGEST_S, (renewed_at - datetime.now(UTC)).total_seconds()))

    async def _give_reason(self, secret: Secret, users: Collection[User], reason: str) -> None:
        async with self._database.transaction() as connection:
            news = await orders.give_reason(connection, secret.id, reason)
        if news:
            await self._note(users)

    async def _note(self, users: Collection[User]) -> None:
        """The listeners that use it say so."""
        for load_balancer_id in sorted({user.load_balancer_id for user in users}):
            async with self._database.transaction() as connection:
                await references.note(connection, load_balancer_id)

    def _patience_s(self, secret: Secret, now: datetime) -> float:
        told = secret.updated_at or secret.created_at
        return self.look_s if told is None or now - told < SOON else SELDOM_S

# SPDX-License-Identifier: Apache-2.0
"""An issuer that speaks ACME (RFC 8555), by certbot's library.

The library waits for answers in threads; between its calls this waits itself, so that a process
ends soon when it is told to. Only http-01 is spoken, for amphorae answer that one. The package
`acme` is asked for as late as that, for who orders no certificate needs none of it.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import colonnade
from colonnade.domain.errors import Broken
from colonnade.drivers.issuers.protocol import Account, NotIssued
from colonnade.runtime.clock import loop_time
from colonnade.runtime.config import Acme

if TYPE_CHECKING:
    from acme import client, messages

P = ParamSpec("P")
T = TypeVar("T")
ANSWER_S: Final = 20  # for one answer of the issuer
ORDER_S: Final = 120.0  # for one certificate
POLL_S: Final = 1.0
LIMITED_S: Final = 3600.0  # when the issuer says that it was asked too often
REASON_MAX: Final = 600
NONCES_MAX: Final = 5  # times that one question is asked
PACKAGE: Final = (
    "the package `acme` is missing where the notifier runs: pip install 'colonnade[acme]'"
)
CURES: Final = {
    "dns": "let the name's A and AAAA records in DNS lead to the load balancer",
    "connection": (
        "let the name lead to the load balancer, and let everybody reach its port 80 (a firewall, "
        "allowed_cidrs of the listener)"
    ),
    "unauthorized": (
        "another server answered: let the name lead to this load balancer alone, AAAA too"
    ),
    "caa": "let the CAA record of the name allow this issuer",
    "rejectedIdentifier": "this issuer signs no such name; ask for others",
    "rateLimited": "wait: it is tried again by itself",
    "externalAccountRequired": "this issuer wants accounts made beforehand: choose another",
    "invalidContact": "correct `contact` of [acme]",
    "unsupportedContact": "correct `contact` of [acme]",
    "userActionRequired": "read the issuer's new terms at the address in its words",
}


class AcmeIssuer:
    """An `Issuer`."""

    def __init__(self, settings: Acme) -> None:
        self._settings = settings
        self.directory = settings.directory

    async def register(self, account: Account) -> Account:
        from acme import errors, messages

        about = messages.NewRegistration.from_data(
            email=",".join(self._settings.contact) or None, terms_of_service_agreed=True
        )
        connected = await self._connect(account)
        try:
            uri = (await self._ask(connected.new_account, about)).uri
        except errors.ConflictError as known:
            uri = known.location
        return Account(account.key_pem, str(uri))

    async def issue(self, account: Account, csr_pem: str, host_names: Sequence[str]) -> str:
        from acme import messages

        connected = await self._connect(account)
        until = loop_time() + ORDER_S
        order = await self._ask(connected.new_order, csr_pem.encode())
        for one in order.authorizations:
            if one.body.status == messages.STATUS_PENDING:
                await self._answer(connected, one)
        for one in order.authorizations:
            await self._proved(connected, one, until)
        await self._ask(connected.begin_finalization, order)
        while True:
            # The library asks at least once, and no longer than this.
            soon = datetime.now() + timedelta(seconds=2 * POLL_S)
            found = await self._ask(_finished, connected, order, soon)
            if found:
                return str(found)
            _check(until, f"it issued no certificate of {', '.join(host_names)}")

    async def _answer(
        self, connected: "client.ClientV2", authorization: "messages.AuthorizationResource"
    ) -> None:
        """Say that it may ask. What it is then told is the amphora's affair."""
        from acme import challenges

        for one in authorization.body.challenges:
            if isinstance(one.chall, challenges.HTTP01):
                key = connected.net.key
                await self._ask(connected.answer_challenge, one, one.chall.response(key))
                return
        raise NotIssued(
            f"The issuer wants another proof for {_name(authorization)} than one over HTTP: "
            "upload a certificate."
        )

    async def _proved(
        self, connected: "client.ClientV2", one: "messages.AuthorizationResource", until: float
    ) -> None:
        from acme import messages

        while True:
            one, _ = await self._ask(connected.poll, one)
            if one.body.status == messages.STATUS_VALID:
                return
            if one.body.status != messages.STATUS_PENDING:
                wrong = [found.error for found in one.body.challenges if found.error is not None]
                raise (
                    _refusal(wrong[0], _name(one))
                    if wrong
                    else NotIssued(
                        f"The issuer calls its question about {_name(one)} {one.body.status.name}."
                    )
                )
            _check(until, f"it did not ask {_name(one)}")
            await asyncio.sleep(POLL_S)

    async def _connect(self, account: Account) -> "client.ClientV2":
        try:
            from acme import client, messages
        except ImportError as error:
            raise Broken(PACKAGE) from error
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from josepy.jwa import ES256
        from josepy.jwk import JWKEC

        key = JWKEC(key=load_pem_private_key(account.key_pem.encode(), None))
        known = messages.RegistrationResource(body=messages.Registration(), uri=account.uri)
        ca = self._settings.ca_certificate
        network = client.ClientNetwork(
            key,
            account=known if account.uri else None,
            alg=ES256,
            verify_ssl=True if ca is None else str(ca),  # type: ignore[arg-type] # as `requests` takes it
            user_agent=f"colonnade/{colonnade.__version__}",
            timeout=ANSWER_S,
        )
        found = await self._ask(client.ClientV2.get_directory, self.directory, network)
        return client.ClientV2(found, network)

    async def _ask(self, call: Callable[P, T], *words: P.args, **named: P.kwargs) -> T:
        from acme import errors, messages
        from requests import RequestException

        try:
            return await asyncio.to_thread(_again, partial(call, *words, **named))
        except messages.Error as error:
            raise _refusal(error) from error
        except errors.ConflictError:
            raise
        except errors.IssuanceError as error:
            raise _refusal(error.error) from error
        except (errors.Error, RequestException, ValueError, KeyError, OSError) as error:
            # Its text may be anything, and as long as it likes.
            said = f"{type(error).__name__}: {error}"[:REASON_MAX]
            raise NotIssued(
                f"The issuer at {self.directory} cannot be asked: {said}. To do: let the "
                "notifier reach it, and read `ca_certificate`; look at `directory` of [acme]."
            ) from error


def _again(ask: Callable[[], T]) -> T:
    """An issuer may forget its nonces at any moment (RFC 8555, 6.5); the library tries but twice,
    and what has a bad nonce was not done."""
    from acme import messages

    for _ in range(NONCES_MAX - 1):
        try:
            return ask()
        except messages.Error as error:
            if error.code != "badNonce":
                raise
    return ask()


def _finished(
    connected: "client.ClientV2", order: "messages.OrderResource", until: datetime
) -> str | None:
    from acme import errors

    try:
        return str(connected.poll_finalization(order, until).fullchain_pem)
    except errors.TimeoutError:
        return None


def _check(until: float, what: str) -> None:
    if loop_time() > until:
        raise NotIssued(f"The issuer did not answer in {ORDER_S:g} s: {what}.")


def _name(authorization: "messages.AuthorizationResource") -> str:
    return str(authorization.body.identifier.value)


def _refusal(error: Any, name: str = "") -> NotIssued:
    """Cause and cure."""
    code = error.code or ""
    said = str(error.detail or error.title or error.typ)[:REASON_MAX].rstrip(". ")
    parts = [
        f"{one.identifier.value}: {one.detail}" for one in error.subproblems or () if one.identifier
    ]
    if parts:
        said = f"{said} ({'; '.join(parts)[:REASON_MAX]})"
    about = f" of {name}" if name else ""
    cure = f" To do: {CURES[code]}." if code in CURES else ""
    after_s = LIMITED_S if code == "rateLimited" else 0.0
    return NotIssued(f"The issuer says{about}: {said}.{cure}", after_s=after_s)

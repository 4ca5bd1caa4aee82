# SPDX-License-Identifier: Apache-2.0
"""What the agent asks of the controllers: its bundle, who there is, a new certificate.

Controllers are interchangeable: the first answer is taken, and a controller that does not answer
is skipped. Both ends check the other's certificate. It knows no haproxy.
"""

import asyncio
import contextlib
import logging
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec

import colonnade
from colonnade.protocol.bundle import BUNDLE_BYTES_MAX, Bundle
from colonnade.protocol.datagram import RECEIVERS_MAX
from colonnade.protocol.logs import LogPlaces, LogQuestion
from colonnade.protocol.messages import Peers, Renewal, Renewing, Report
from colonnade.runtime.mtls import Contexts

log = logging.getLogger(__name__)
CONTROLLER: Final = "controller"  # the name in a controller's certificate
TIMEOUT: Final = aiohttp.ClientTimeout(total=10.0, connect=2.0)
CONTROLLERS_MAX: Final = 64
VERSION: Final = quote(colonnade.__version__, safe="")


class NobodyAnswers(Exception):
    """No controller could be reached or understood."""


class Expired(Exception):
    """A controller answers that this amphora's certificate has expired: only `renewal` helps."""


class Controllers:
    """Every method raises NobodyAnswers, and all but `renewal` raise Expired."""

    def __init__(self, addresses: tuple[str, ...], contexts: Contexts) -> None:
        self.addresses = addresses
        self._contexts = contexts

    async def bundle(self, newer_than: int) -> Bundle | None:
        """The wanted bundle, None when there is nothing newer."""
        body = await self._ask("GET", f"/bundle?generation={newer_than}")
        return msgspec.json.decode(body, type=Bundle) if body else None

    async def peers(self, authorities: str) -> Peers:
        """`authorities`: a digest of those that this amphora trusts; the release of this agent is
        told too. Receivers come each once, in an order that stays, so that their turns do."""
        body = await self._ask("GET", f"/peers?authorities={authorities}&version={VERSION}")
        peers = msgspec.json.decode(body, type=Peers)
        return msgspec.structs.replace(
            peers,
            controllers=peers.controllers[:CONTROLLERS_MAX],
            receivers=tuple(sorted(set(peers.receivers)))[:RECEIVERS_MAX],
        )

    async def renewal(self, request: Renewing) -> Renewal:
        """A new certificate, and the authorities to trust."""
        body = await self._ask("POST", "/identity", msgspec.json.encode(request))
        return msgspec.json.decode(body, type=Renewal)

    async def report(self, failure: Report) -> None:
        """Say that a fetched bundle could not be applied."""
        await self._ask("POST", "/report", msgspec.json.encode(failure))

    async def log_places(self, question: LogQuestion) -> LogPlaces:
        """Where files of access logs go."""
        body = await self._ask("POST", "/log-places", msgspec.json.encode(question))
        return msgspec.json.decode(body, type=LogPlaces)

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        for address in self.addresses:
            try:
                answer = await self._ask_one(method, f"https://{address}{path}", body)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.info("controller %s: %s", address, error or type(error).__name__)
                continue
            # The one that answered is asked first the next time.
            others = tuple(other for other in self.addresses if other != address)
            self.addresses = (address, *others)
            return answer
        raise NobodyAnswers("no controller answers")

    async def _ask_one(self, method: str, url: str, body: bytes | None) -> bytes:
        # A connection each time: there is one a minute, and nothing is held in between.
        connector = aiohttp.TCPConnector(ssl=self._contexts(), force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session,
            session.request(method, url, data=body, server_hostname=CONTROLLER) as answer,
        ):
            if answer.status == 401:
                raise Expired("the certificate of this amphora has expired")
            if answer.status not in (200, 204):
                raise aiohttp.ClientPayloadError(f"answered {answer.status}")
            content = bytearray()
            async for part in answer.content.iter_chunked(65536):
                content += part
                if len(content) > BUNDLE_BYTES_MAX:
                    raise aiohttp.ClientPayloadError("the answer is too long")
            return bytes(content)


async def pause(seconds: float, woken: asyncio.Event) -> None:
    """Wait, or less when woken."""
    # Not wait_for: in Python 3.11 that may swallow a cancellation that comes with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()

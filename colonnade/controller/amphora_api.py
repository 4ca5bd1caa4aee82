# SPDX-License-Identifier: Apache-2.0
"""What amphorae may ask of a controller, over mutual TLS: my bundle, my report, my peers, a new
certificate, places for my logs.

The name in the certificate says which amphora asks. It is told about itself only. It asks at
boot, when told of pending tasks, and every minute; mostly there is nothing new. One whose
certificate has expired may ask for a new one, and for nothing else.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog
from aiohttp import web

from colonnade.controller.clusters import Clusters
from colonnade.controller.log_places import Places
from colonnade.controller.renewals import Certificates, is_expired
from colonnade.domain.errors import Broken, Refused, Unavailable
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import AmphoraId, read_id
from colonnade.domain.lifecycle import ANSWERING, State
from colonnade.domain.outdated import VERSION
from colonnade.drivers.amphora import answers
from colonnade.drivers.amphora.answers import Unbelievable
from colonnade.drivers.amphora.haproxy.client import in_its_words
from colonnade.protocol.bundle import Bundle, Interface, Pair
from colonnade.protocol.logs import LogQuestion
from colonnade.protocol.messages import Peers, Refusal, Renewing, Report
from colonnade.runtime.buckets import Buckets
from colonnade.runtime.mtls import Peer, peer_of
from colonnade.store.fleet import amphora_rows, daemons, outdated
from colonnade.store.postgres.database import Database

BODY_BYTES_MAX: Final = 1024 * 1024
ASKED_PER_S: Final = 5.0  # by one amphora; an honest one asks some four times a minute
ASKED_AT_ONCE: Final = 20

log = structlog.get_logger()

Render = Callable[[Cluster, Sequence[Interface], Pair | None], Awaitable[Bundle]]
AMPHORA: Final = web.RequestKey("amphora", Amphora)
PEER: Final = web.RequestKey("peer", Peer)
IDENTITY: Final = "/identity"


def application(
    database: Database,
    clusters: Clusters,
    render: Render,
    places: Places,
    certificates: Certificates,
) -> web.Application:
    """The routes; who serves it brings TLS contexts (`mtls.contexts_for_late_clients`)."""
    api = _AmphoraApi(database, clusters, render, places, certificates)
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[api.guard])
    app.add_routes(
        [
            web.get("/bundle", api.bundle),
            web.post("/report", api.report),
            web.get("/peers", api.peers),
            web.post(IDENTITY, api.identity),
            web.post("/log-places", api.log_places),
        ]
    )
    return app


class _AmphoraApi:
    def __init__(
        self,
        database: Database,
        clusters: Clusters,
        render: Render,
        places: Places,
        certificates: Certificates,
    ) -> None:
        self._places = places
        self._certificates = certificates
        self._buckets = Buckets(ASKED_PER_S, burst=ASKED_AT_ONCE)
        self._database = database
        self._clusters = clusters
        self._render = render

    @web.middleware
    async def guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Find out who asks, and turn errors into answers, for every route."""
        try:
            request[PEER] = peer = _peer(request)
            request[AMPHORA] = amphora = await self._sender(peer)
            if is_expired(peer) and request.path != IDENTITY:
                reason = f"the certificate has expired: ask for a new one at {IDENTITY}"
                return _answer(Refusal(reason=reason), status=401)
            if self._buckets.take(amphora.id) > 0:
                reason = "this amphora asks more often than it has reason to"
                return _answer(Refusal(reason=reason), status=429)
            return await handler(request)
        except Refused as error:
            return _answer(Refusal(reason=error.public), status=403)
        except (Unavailable, Broken) as error:
            return _answer(Refusal(reason=error.public), status=503)
        except (Unbelievable, ValueError) as error:
            return _answer(Refusal(reason=str(error)), status=400)

    async def bundle(self, request: web.Request) -> web.Response:
        present = int(request.query.get("generation", "0"))
        found = await self._clusters.bundle_facts(request[AMPHORA])
        if found is None or found[0].generation <= present:
            return web.Response(status=204)
        wanted, wires = found
        return _answer(await self._render(wanted, *wires))

    async def report(self, request: web.Request) -> web.Response:
        told = answers.decoded(await request.read(), Report)
        amphora = request[AMPHORA]
        log.warning("a bundle was refused", amphora_id=amphora.id, reason=told.reason)
        if amphora.state in ANSWERING and amphora.cluster_id is not None:
            said = in_its_words(told.reason)
            await self._clusters.record_refusal(amphora.cluster_id, told.generation, said)
        return web.Response(status=204)

    async def log_places(self, request: web.Request) -> web.Response:
        question = answers.decoded(await request.read(), LogQuestion)
        return _answer(await self._places.answer(request[AMPHORA], question))

    async def peers(self, request: web.Request) -> web.Response:
        renew = await self._certificates.seen(
            self._database, request[AMPHORA], request[PEER], request.query.get("authorities", "")
        )
        await self._note_version(request[AMPHORA], request.query.get("version", ""))
        async with self._database.read() as connection:
            controllers = await daemons.live(connection, daemons.Kind.CONTROLLER)
            receivers = await daemons.live(connection, daemons.Kind.HEALTH)
        return _answer(
            Peers(controllers=tuple(controllers), receivers=tuple(receivers), renew=renew)
        )

    async def _note_version(self, amphora: Amphora, version: str) -> None:
        """An agent may tell no version: "". Raises ValueError for a text that is not a version."""
        if version and not VERSION.fullmatch(version):
            raise ValueError("version: this is no release, such as 1.2.3")
        if version != amphora.agent_version:  # it asks each minute
            async with self._database.transaction() as connection:
                await outdated.record_agent(connection, amphora.id, version)

    async def identity(self, request: web.Request) -> web.Response:
        asked = answers.decoded(await request.read(), Renewing)
        amphora_id, peer = request[AMPHORA].id, request[PEER]
        renewal = await self._certificates.renewal(self._database, amphora_id, peer, asked.proof)
        log.info("certificate renewed", amphora_id=amphora_id, late=is_expired(peer))
        return _answer(renewal)

    async def _sender(self, peer: Peer) -> Amphora:
        try:
            amphora_id = AmphoraId(read_id(peer.name))
        except ValueError:
            raise Refused("this API is for amphorae") from None
        async with self._database.read() as connection:
            amphora = await amphora_rows.amphora(connection, amphora_id)
        if amphora is None or amphora.state is State.RETIRING:
            raise Refused("this amphora is not known, or no longer")
        return amphora


def _peer(request: web.Request) -> Peer:
    transport = request.transport
    peer = peer_of(transport.get_extra_info("ssl_object") if transport else None)
    if peer is None:
        raise Refused("this API is for amphorae")
    return peer


def _answer(body: msgspec.Struct, *, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )

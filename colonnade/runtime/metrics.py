# SPDX-License-Identifier: Apache-2.0
"""How this process does, for Prometheus: `GET /metrics` at an address of its own.

On loopback it answers whoever asks for a name of loopback; elsewhere over mutual TLS alone, and
the office `metrics` alone. An answer is made at most once in `FRESH_S`, whoever asks how often.
What is told comes from sources; none of them is known here.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import structlog
from aiohttp import web
from prometheus_client import disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector, CollectorRegistry

from colonnade.runtime.config import METRICS_SOCKET, OFFICES_OF_METRICS, Config, Metrics
from colonnade.runtime.listener import Bounds, accepting, protocols_of
from colonnade.runtime.mtls import peer_name, server_contexts
from colonnade.runtime.sockets import is_loopback, tcp_listener

READER: Final = "metrics"  # the office of who asks from elsewhere
FRESH_S: Final = 2.0
BOUNDS: Final = Bounds(connections=32, of_one_peer=32)
CLOSING_S: Final = 0.5
KEPT_OPEN_S: Final = 75.0

Source: TypeAlias = Callable[[], Awaitable[Iterable[Metric]]]
log = structlog.get_logger()
disable_created_metrics()  # type: ignore[no-untyped-call]


def listener_of(config: Metrics, office: str) -> socket.socket | None:
    """Where this process answers; None: nowhere, because nobody said so or the place is taken."""
    given = os.environ.pop(METRICS_SOCKET, "")
    if given:
        found = socket.socket(fileno=int(given))
        found.set_inheritable(False)
        return found
    if not config.port:
        return None
    port = config.port + OFFICES_OF_METRICS.index(office)
    try:
        return tcp_listener(config.host, port)
    except OSError as error:
        log.error("no metrics", address=config.host, port=port, error=str(error))
        return None


@contextlib.asynccontextmanager
async def told(
    config: Config,
    office: str,
    listener: socket.socket | None,
    sources: Sequence[Source],
    more: Sequence[web.RouteDef] = (),
) -> AsyncIterator[None]:
    """Answer while the context lasts. Closes the listener. `more`: what may be asked besides."""
    if listener is None:
        yield
        return
    address = str(listener.getsockname()[0])
    is_open = is_loopback(address)
    certificate = config.pki_dir / f"{office}.pem"
    answers = _Answers([*sources, lambda: certificates(certificate)])
    app = web.Application(middlewares=[_of_loopback if is_open else _of_reader])
    app.add_routes([web.get("/metrics", answers.answer), *more])
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=CLOSING_S, keepalive_timeout=KEPT_OPEN_S
    )
    await runner.setup()
    contexts = None if is_open else server_contexts(certificate, config.pki_dir / "ca.pem")
    try:
        async with accepting(listener, protocols_of(runner), contexts, BOUNDS):
            yield
    finally:
        await runner.cleanup()


async def own() -> Iterable[Metric]:
    """What was counted in this very process, and what the kernel says of it."""
    return REGISTRY.collect()


def text_of(families: Iterable[Metric]) -> bytes:
    """The text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    return generate_latest(registry)


def answer(families: Iterable[Metric]) -> web.Response:
    return _response(text_of(families))


def _response(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Answers:
    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._lock = asyncio.Lock()
        self._text = b""
        self._made_at = float("-inf")

    async def answer(self, _request: web.Request) -> web.Response:
        async with self._lock:
            if time.monotonic() - self._made_at >= FRESH_S:
                families = [one for source in self._sources for one in await source()]
                self._text = await asyncio.to_thread(text_of, families)
                self._made_at = time.monotonic()
        return _response(self._text)


@web.middleware
async def _of_loopback(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A page of another site can have its own name lead here (DNS rebinding)."""
    host = request.url.host or ""
    if not is_loopback(host):
        raise web.HTTPForbidden(text=f"ask for a name of loopback, not {host[:100]!r}\n")
    return await handler(request)


@web.middleware
async def _of_reader(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    transport = request.transport
    name = peer_name(transport.get_extra_info("ssl_object") if transport is not None else None)
    if name != READER:
        raise web.HTTPForbidden(text=f"this is for the office {READER!r}, not {name[:100]!r}\n")
    return await handler(request)


async def certificates(own: Path) -> Iterable[Metric]:
    """When the certificates of this process end: its own, and the authority's."""
    from colonnade.runtime.certificate_authority import expires_at  # its library is large

    family = GaugeMetricFamily(
        "colonnade_certificate_not_after_timestamp_seconds",
        "When a certificate of this process ends, in seconds since 1970",
        labels=["certificate"],
    )
    for file in (own, own.with_name("ca.pem")):
        with contextlib.suppress(OSError, ValueError):
            end = expires_at(await asyncio.to_thread(file.read_text))
            family.add_metric([file.stem], end.timestamp())
    return [family]

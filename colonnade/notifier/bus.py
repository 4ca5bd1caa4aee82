# SPDX-License-Identifier: Apache-2.0
"""The message bus: one connection to RabbitMQ over AMQP 0-9-1, opened as it is needed.

A message counts as taken when the broker says that it has it, in a queue. Exchange and queues are
those of oslo.messaging, and are made when they are not there yet, so that nothing is lost before
the first reader comes. Neither the password nor the URL is told to anybody.
"""

import asyncio
import contextlib
import errno
import logging
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from urllib.parse import quote, unquote

import msgspec

from colonnade.domain.errors import Broken, Unavailable, Unreachable
from colonnade.runtime.config import Notifications

if TYPE_CHECKING:
    import aiormq

PRIORITY: Final = "info"  # of all that is told: part of the queue's name
PORT, TLS_PORT = 5672, 5671
SCHEMES: Final = ("rabbit", "amqp", "amqps")
CLOSE_S: Final = 2.0
SAID_MAX: Final = 200


class Bus(Protocol):
    async def publish(self, message_id: str, body: bytes) -> None:
        """Returns when the bus has it, in each topic's queue. Raises Unavailable, and Broken when
        waiting does not help."""

    async def close(self) -> None: ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A broker, and who we are there. Not to be printed: `password`."""

    host: str
    port: int
    user: str
    password: str
    virtual_host: str
    tls: bool

    def __repr__(self) -> str:
        return f"Place({self.name})"

    @property
    def name(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        word = "amqps" if self.tls else "amqp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        who = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"{word}://{who}@{host}:{self.port}/{quote(self.virtual_host, safe='')}"


def places_of(url: str, *, tls: bool = False) -> list[Place]:
    """The brokers of a transport URL as oslo.messaging writes it: rabbit://USER:PASSWORD@HOST:PORT,
    more of them after commas, /VIRTUAL_HOST at the end. Raises Broken, without the URL."""
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        words = ", ".join(f"{one}://" for one in SCHEMES)
        raise Broken(f"the transport URL must begin with one of {words}")
    hosts, _, path = rest.partition("?")[0].partition("/")
    is_tls = tls or scheme == "amqps"
    return [_place(one, unquote(path) or "/", is_tls=is_tls) for one in hosts.split(",")]


def _place(text: str, virtual_host: str, *, is_tls: bool) -> Place:
    who, _, where = text.rpartition("@")
    user, _, password = who.partition(":")
    host, port = where, ""
    if where.startswith("["):
        host, _, port = where[1:].partition("]")
        port = port.removeprefix(":")
    elif ":" in where:
        host, _, port = where.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise Broken("the transport URL names no host and port: rabbit://USER:PASSWORD@HOST:PORT/")
    return Place(
        host=host,
        port=int(port) if port else TLS_PORT if is_tls else PORT,
        user=unquote(user) or "guest",
        password=unquote(password) or "guest",
        virtual_host=virtual_host,
        tls=is_tls,
    )


def bus_of(settings: Notifications) -> "RabbitMQ | None":
    """The one that is configured, None where none is. Raises Broken."""
    if settings.transport_url_file is None:
        return None
    places = places_of(_secret(settings.transport_url_file), tls=settings.ca_file is not None)
    return RabbitMQ(places, settings)


class RabbitMQ:
    def __init__(self, places: Sequence[Place], settings: Notifications) -> None:
        self._client = _library()
        self._places = list(places)
        self._settings = settings
        self._trust = _trust(settings.ca_file) if any(one.tls for one in places) else None
        self._connection: aiormq.abc.AbstractConnection | None = None
        self._channel: aiormq.abc.AbstractChannel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def publish(self, message_id: str, body: bytes) -> None:
        properties = self._client.spec.Basic.Properties(
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,  # kept on disk where the queue is
            priority=0,
            message_id=message_id,
        )
        async with self._trying():
            channel = await self._opened()
            for queue in self._queues:
                await channel.basic_publish(
                    body,
                    exchange=self._settings.exchange,
                    routing_key=queue,
                    properties=properties,
                    mandatory=True,
                )

    async def reached(self) -> str:
        """The broker that lets us in, in words. Makes nothing there. Raises as `publish` does."""
        place = self._places[0]
        async with self._trying():
            await self._connected()
        await self.close()
        return f"{place.name} lets {place.user} in"

    @contextlib.asynccontextmanager
    async def _trying(self) -> AsyncIterator[None]:
        place = self._places[0]
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                yield
        except Exception as error:
            await self.close()
            # The next attempt begins with another broker, where there is one.
            self._places = [*self._places[1:], place]
            raise self._sorted(error, place) from error
        except asyncio.CancelledError:
            await self.close()
            raise

    @property
    def _queues(self) -> list[str]:
        return [f"{topic}.{PRIORITY}" for topic in self._settings.topics]

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_S):
                    await connection.close()

    async def _opened(self) -> "aiormq.abc.AbstractChannel":
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        made = await self._connected()
        await self._prepare(made)
        self._channel = await made.channel(publisher_confirms=True)
        return self._channel

    async def _connected(self) -> "aiormq.abc.AbstractConnection":
        await self.close()
        place = self._places[0]
        made: aiormq.Connection = self._client.Connection(
            place.url, context=self._trust if place.tls else None
        )
        self._connection = made
        await made.connect({"connection_name": "colonnade notifier"})
        return made

    async def _prepare(self, connection: "aiormq.abc.AbstractConnection") -> None:
        """What is there stays as its owner made it; what is not is made as oslo.messaging does."""
        exchange, durable = self._settings.exchange, self._settings.durable
        missing = self._client.ChannelNotFoundEntity
        channel = await connection.channel()
        try:
            await channel.exchange_declare(exchange, passive=True)
        except missing:
            channel = await connection.channel()
            await channel.exchange_declare(exchange, exchange_type="topic", durable=durable)
        for queue in self._queues:
            try:
                await channel.queue_declare(queue, passive=True)
            except missing:
                channel = await connection.channel()
                await channel.queue_declare(queue, durable=durable)
            await channel.queue_bind(queue, exchange, routing_key=queue)
        await channel.close()

    def _sorted(self, error: Exception, place: Place) -> Unavailable | Broken:
        client, where = self._client, f"the message bus at {place.name}"
        match error:
            case client.AuthenticationError() | client.ProbableAuthenticationError():
                return Broken(
                    f"{where} refuses user and password of notifications.transport_url_file"
                )
            case client.ChannelAccessRefused() | client.ConnectionNotAllowed():
                return Broken(
                    f"{where} gives its user no rights on virtual host {place.virtual_host},"
                    f" exchange {self._settings.exchange} and queues {', '.join(self._queues)}:"
                    f" configure, write and read are needed ({_said(error)})"
                )
            case client.ChannelPreconditionFailed():
                return Broken(
                    f"{where} has exchange {self._settings.exchange} or a queue of it with other"
                    " properties than those of a topic exchange of oslo.messaging"
                )
            case ssl.SSLCertVerificationError():
                return Broken(f"{where}: its certificate is not trusted: {error.verify_message}")
            case TimeoutError():
                return Unreachable(f"{where} took nothing within {self._settings.timeout_s:g} s")
            case OSError() if error.errno in errno.errorcode:
                return Unreachable(f"{where}: {os.strerror(error.errno or 0)}")
            case client.AMQPError():
                return Unreachable(f"{where}: {_said(error)}")
        return Unreachable(f"{where}: {type(error).__name__}")


def _said(error: Exception) -> str:
    """By the broker, in its words."""
    words = ", ".join(one for one in error.args if isinstance(one, str))
    return words[:SAID_MAX] or type(error).__name__


def _library() -> Any:
    """Raises Broken where it is not installed."""
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what goes wrong is raised, too
    try:
        return import_module("aiormq")
    except ImportError as error:
        raise Broken(
            "aiormq, which speaks to the message bus, is not installed: install colonnade[bus]"
        ) from error


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Broken(f"notifications.ca_file {ca_file} cannot be read: {error}") from error


def _secret(file: Path) -> str:
    """Raises Broken."""
    try:
        if file.stat().st_mode & 0o007:
            raise Broken(f"{file} holds a password, and anybody may read it: chmod 600 {file}")
        return file.read_text().strip()
    except OSError as error:
        raise Broken(f"{file} cannot be read: {error.strerror}") from error

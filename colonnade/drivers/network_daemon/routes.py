# SPDX-License-Identifier: Apache-2.0
"""The daemon's private API: who may call what, and how a request becomes a call.

Invariant: whoever is not named in a route's offices is refused before the body is read; the
name is that of the peer's certificate. No logic of networks or amphorae is here.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from prometheus_client.metrics_core import Metric

from colonnade.domain.errors import ColonnadeError, Forbidden, Invalid, Unavailable
from colonnade.domain.ids import AmphoraId, PortId, SubnetId, read_id
from colonnade.drivers.compute.namespaces.amphorae import Amphorae
from colonnade.drivers.compute.protocol import Boot
from colonnade.drivers.network.namespaces.hosts import Hosts, check_name
from colonnade.drivers.network.namespaces.networks import Networks
from colonnade.drivers.network.namespaces.wire import (
    BODY_BYTES_MAX,
    VERSION,
    VERSION_HEADER,
    Forwards,
    HostWish,
    Plug,
    Range,
    Seat,
    read_version,
    write_error,
)
from colonnade.drivers.network.protocol import PortWish, Route, is_vip
from colonnade.drivers.network_daemon.metrics import counting, families
from colonnade.runtime.mtls import peer_name

ALL: Final = frozenset({"controller", "api", "supervisor", "health"})
PORT_MAKERS: Final = frozenset({"controller", "api", "supervisor"})
CONTROLLERS: Final = frozenset({"controller", "supervisor"})
BENCH: Final = frozenset({"supervisor"})
Call = Callable[[web.Request], Awaitable[Any]]
T = TypeVar("T")


class Routes:
    def __init__(self, networks: Networks, amphorae: Amphorae, hosts: Hosts) -> None:
        self._networks = networks
        self._amphorae = amphorae
        self._hosts = hosts

    def application(self) -> web.Application:
        application = web.Application(
            client_max_size=BODY_BYTES_MAX, middlewares=[counting, _answer_errors]
        )
        for method, path, offices, call in self._table():
            application.router.add_route(method, path, _guarded(offices, call))
        return application

    async def families(self) -> Iterable[Metric]:
        """How things are, for Prometheus."""
        book = self._networks.book
        usage = {}
        for subnet_id, counts in book.usage().items():
            subnet = book.subnet(subnet_id)
            usage[book.network(subnet.network_id).name, subnet.cidr] = counts
        return families(await self._amphorae.instances(), usage)

    def _table(self) -> list[tuple[str, str, frozenset[str], Call]]:
        networks, amphorae, hosts = self._networks, self._amphorae, self._hosts

        async def list_hosts(_request: web.Request) -> Any:
            return hosts.all()

        return [
            ("GET", "/v1/networks", ALL, lambda _: networks.networks()),
            ("GET", "/v1/subnets", ALL, lambda _: networks.subnets()),
            ("GET", "/v1/lb-subnet", ALL, lambda _: networks.lb_subnet()),
            ("GET", "/v1/subnets/{id}/free-addresses", ALL, self._free_addresses),
            ("GET", "/v1/subnets/{id}/addresses/{address}/taken", ALL, self._taken),
            ("GET", "/v1/ports", ALL, lambda _: networks.ports()),
            ("GET", "/v1/ports/{id}", ALL, lambda r: networks.port(_port_id(r))),
            ("PUT", "/v1/ports/{id}", PORT_MAKERS, self._create_port),
            ("DELETE", "/v1/ports/{id}", PORT_MAKERS, self._delete_port),
            ("PUT", "/v1/ports/{id}/plug", CONTROLLERS, self._plug),
            ("DELETE", "/v1/ports/{id}/plug", CONTROLLERS, lambda r: networks.unplug(_port_id(r))),
            ("PUT", "/v1/ports/{id}/forwards", CONTROLLERS, self._set_forwards),
            ("GET", "/v1/routes", ALL, lambda _: networks.routing.routes()),
            ("GET", "/v1/routes/{destination}", ALL, self._show_route),
            ("PUT", "/v1/routes/{destination}", CONTROLLERS, self._set_route),
            ("DELETE", "/v1/routes/{destination}", CONTROLLERS, self._delete_route),
            ("GET", "/v1/instances", ALL, lambda _: amphorae.instances()),
            ("GET", "/v1/instances/{id}", ALL, lambda r: amphorae.instance(_amphora_id(r))),
            ("PUT", "/v1/instances/{id}", CONTROLLERS, self._create_amphora),
            ("DELETE", "/v1/instances/{id}", CONTROLLERS, self._destroy_amphora),
            ("PUT", "/v1/seats/{id}", CONTROLLERS, self._make_seat),
            ("GET", "/v1/lab/hosts", BENCH, list_hosts),
            ("PUT", "/v1/lab/hosts/{name}", BENCH, self._add_host),
            ("DELETE", "/v1/lab/hosts/{name}", BENCH, self._remove_host),
            ("PUT", "/v1/lab/networks/{name}", BENCH, self._add_network),
        ]

    async def _free_addresses(self, request: web.Request) -> Any:
        subnet = self._networks.book.subnet(SubnetId(_id(request.match_info["id"])))
        return self._networks.book.usage()[subnet.id][1]

    async def _taken(self, request: web.Request) -> Any:
        subnet = SubnetId(_id(request.match_info["id"]))
        return await self._networks.uplinks.forwards.taken(subnet, request.match_info["address"])

    async def _set_forwards(self, request: web.Request) -> Any:
        wanted = (await _body(request, Forwards)).forwards
        await self._networks.uplinks.forwards.set_forwards(_port_id(request), wanted)

    async def _create_port(self, request: web.Request) -> Any:
        wish = await _body(request, PortWish)
        if wish.id != _port_id(request):
            raise Invalid("the body names another port than the path", field="id")
        if _office(request) == "api":
            self._check_user_network(wish)
        return await self._networks.create_port(wish)

    async def _delete_port(self, request: web.Request) -> Any:
        port_id, book = _port_id(request), self._networks.book
        if _office(request) == "api" and port_id in book.ports:
            port = book.port(port_id)
            if not book.visible(port.network_id) or not is_vip(port.owner):
                raise Forbidden("the API may delete only ports that users have")
        await self._networks.delete_port(port_id)

    async def _plug(self, request: web.Request) -> Any:
        plug = await _body(request, Plug)
        return await self._networks.plug(_port_id(request), AmphoraId(_id(plug.amphora_id)))

    async def _show_route(self, request: web.Request) -> Any:
        return await self._networks.routing.route(request.match_info["destination"])

    async def _set_route(self, request: web.Request) -> Any:
        route = await _body(request, Route)
        if route.destination != request.match_info["destination"]:
            raise Invalid("the body names another destination than the path", field="destination")
        return await self._networks.routing.set_route(route)

    async def _delete_route(self, request: web.Request) -> Any:
        await self._networks.routing.delete_route(request.match_info["destination"])

    async def _create_amphora(self, request: web.Request) -> Any:
        boot = await _body(request, Boot)
        if boot.amphora_id != _amphora_id(request):
            raise Invalid("the body names another amphora than the path", field="amphora_id")
        await self._amphorae.create(boot)

    async def _make_seat(self, request: web.Request) -> Any:
        seat = await _body(request, Seat)
        self._amphorae.seat(_amphora_id(request), AmphoraId(_id(seat.carrier_id)))

    async def _destroy_amphora(self, request: web.Request) -> Any:
        await self._amphorae.destroy(_amphora_id(request))

    async def _add_host(self, request: web.Request) -> Any:
        wish = await _body(request, HostWish)
        if wish.name != request.match_info["name"]:
            raise Invalid("the body names another host than the path", field="name")
        return await self._hosts.add(wish)

    async def _remove_host(self, request: web.Request) -> Any:
        await self._hosts.remove(request.match_info["name"])

    async def _add_network(self, request: web.Request) -> Any:
        name = request.match_info["name"]
        check_name(name)
        return await self._networks.add_network(name, await _body(request, Range))

    def _check_user_network(self, wish: PortWish) -> None:
        book = self._networks.book
        network_id = wish.network_id
        if wish.subnet_id is not None:
            network_id = book.subnet(wish.subnet_id).network_id
        if network_id is not None and not book.visible(network_id):
            raise Forbidden("the API may make ports only on networks that users see")
        known = book.ports.get(wish.id)
        if not is_vip(wish.owner) or (known and known.owner != wish.owner):
            raise Forbidden("the API may make ports of load balancers alone")


def _guarded(offices: frozenset[str], call: Call) -> Callable[[web.Request], Awaitable[Any]]:
    async def respond(request: web.Request) -> web.Response:
        office = _office(request)
        if office not in offices:
            raise Forbidden(f"{office or 'nobody'} may not {request.method} {request.path}")
        value = await call(request)
        if value is None and request.method != "GET":
            return web.Response(status=204)
        return web.Response(body=msgspec.json.encode(value), content_type="application/json")

    return respond


@web.middleware
async def _answer_errors(request: web.Request, handler: Call) -> web.StreamResponse:
    """Every answer says the version, and every error why."""
    try:
        version = read_version(request.headers.get(VERSION_HEADER))
        response: web.StreamResponse = await handler(request)
    except ColonnadeError as error:
        status, body = write_error(error)
        response = web.Response(status=status, body=body, content_type="application/json")
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        # A newer caller's call: not to be mistaken for a port that is not there.
        detail = f"{request.method} {request.path} of version {version} is unknown to {VERSION}"
        _, body = write_error(
            Unavailable("the network daemon does not know this call", detail=detail)
        )
        response = web.Response(status=501, body=body, content_type="application/json")
    response.headers[VERSION_HEADER] = str(VERSION)
    return response


def _office(request: web.Request) -> str:
    transport = request.transport
    return peer_name(transport.get_extra_info("ssl_object") if transport is not None else None)


async def _body(request: web.Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.DecodeError as error:  # its words name fields and types, never values
        raise Invalid(str(error)) from error


def _id(text: str) -> str:
    try:
        return read_id(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not an id", field="id") from error


def _port_id(request: web.Request) -> PortId:
    return PortId(_id(request.match_info["id"]))


def _amphora_id(request: web.Request) -> AmphoraId:
    return AmphoraId(_id(request.match_info["id"]))

# SPDX-License-Identifier: Apache-2.0
"""As much of Neutron as Colonnade speaks to, over real HTTP on loopback, with faults to order.

It may stand in for the real one because it passes the same promises (`tests/openstack/`). Whose
token is whose is the fake Keystone's to know. All networks but `private` and `lb` are shared.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

from aiohttp import web

from colonnade.domain.errors import ColonnadeError, Conflict, Invalid, NotFound, OutOfCapacity
from colonnade.domain.ids import NetworkId, PortId, SubnetId, new_id
from colonnade.drivers.network.namespaces.address_book import (
    FIRST_NETWORKS,
    LB_NETWORK,
    PRIVATE,
    AddressBook,
    network_id,
)
from colonnade.drivers.network.protocol import PortWish, Subnet
from tests.fakes.keystone import FakeKeystone

HIDDEN = {network_id(PRIVATE.name), network_id(LB_NETWORK.name)}
# As Neutron says it: status, and the type of its error.
REFUSALS: dict[type[ColonnadeError], tuple[int, str]] = {
    OutOfCapacity: (409, "IpAddressGenerationFailure"),
    Conflict: (409, "IpAddressInUse"),
    Invalid: (400, "InvalidIpForSubnet"),
    NotFound: (404, "NotFound"),
}


class FakeNeutron:
    """`fault`: the status that each call is answered with instead; `lose`: the next port is made,
    and the answer to that is lost; `page_max`: of a list, whatever is asked for."""

    def __init__(self, keystone: FakeKeystone) -> None:
        self.url = ""
        self.keystone = keystone
        self.book = AddressBook()
        self.ports: dict[str, dict[str, Any]] = {}
        self.fault: int | None = None
        self.lose = False
        self.page_max = 1000
        for record in FIRST_NETWORKS:
            self.book.add_network(record)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeNeutron"]:
        app = web.Application(middlewares=[self._guarded])
        for plural in ("networks", "subnets", "ports"):
            app.router.add_get(f"/v2.0/{plural}", self._list)
            app.router.add_get(f"/v2.0/{plural}/{{id}}", self._one)
        app.router.add_post("/v2.0/ports", self._create)
        app.router.add_delete("/v2.0/ports/{id}", self._delete)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        endpoint = {"interface": "public", "url": self.url, "region": "RegionOne"}
        self.keystone.catalog = [{"type": "network", "endpoints": [endpoint]}]
        try:
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.fault is not None:
            return web.json_response({}, status=self.fault)
        token = self.keystone.tokens.get(request.headers.get("X-Auth-Token", ""))
        if token is None or token.revoked:
            return web.json_response({}, status=401)
        try:
            answer: web.StreamResponse = await handler(request)
            return answer
        except ColonnadeError as error:
            status, kind = next(REFUSALS[one] for one in type(error).__mro__ if one in REFUSALS)
            said = {"type": kind, "message": error.public, "detail": ""}
            return web.json_response({"NeutronError": said}, status=status)

    def _sees_all(self, request: web.Request) -> bool:
        return self.keystone.tokens[request.headers["X-Auth-Token"]].may_validate

    async def _list(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.split("/")[-1]
        rows = self._rows(plural, sees_all=self._sees_all(request))
        query = dict(request.query)
        marker, limit = query.pop("marker", ""), int(query.pop("limit", "1000"))
        limit = min(limit, self.page_max)
        if on := query.pop("fixed_ips", ""):
            subnet = on.partition("=")[2]
            rows = [row for row in rows if row["fixed_ips"][0]["subnet_id"] == subnet]
        rows = [row for row in rows if all(str(row.get(n)) == text for n, text in query.items())]
        ids = [row["id"] for row in rows]
        after = ids.index(marker) + 1 if marker else 0
        page = rows[after : after + limit]
        links = [{"rel": "next", "href": "..."}] if len(page) == limit else []
        return web.json_response({plural: page} | ({f"{plural}_links": links} if links else {}))

    async def _one(self, request: web.Request) -> web.StreamResponse:
        plural, wanted = request.path.split("/")[-2:]
        for row in self._rows(plural, sees_all=self._sees_all(request)):
            if row["id"] == wanted:
                return web.json_response({plural[:-1]: row})
        raise NotFound(f"{plural[:-1]} {wanted} could not be found")

    async def _create(self, request: web.Request) -> web.StreamResponse:
        about = (await request.json())["port"]
        (fixed,) = about["fixed_ips"]
        made = self.book.create_port(
            PortWish(
                id=PortId(new_id()),
                owner="",
                subnet_id=SubnetId(fixed["subnet_id"]),
                address=fixed.get("ip_address"),
            )
        )
        self.ports[made.id] = about | {
            "id": made.id,
            "mac_address": made.mac,
            "fixed_ips": [{"subnet_id": made.subnet_id, "ip_address": made.address}],
            "created_at": f"2026-01-01T00:00:{len(self.ports) % 60:02}Z",
            "project_id": about.get("project_id") or uuid4().hex,
        }
        if self.lose:
            self.lose = False
            return web.json_response({}, status=504)
        return web.json_response({"port": self.ports[made.id]}, status=201)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        port_id = request.match_info["id"]
        if self.ports.pop(port_id, None) is None:
            raise NotFound(f"port {port_id} could not be found")
        self.book.delete_port(PortId(port_id))
        return web.Response(status=204)

    def _rows(self, plural: str, *, sees_all: bool) -> Sequence[dict[str, Any]]:
        if plural == "ports":
            return list(self.ports.values()) if sees_all else []
        networks = [self.book.network(of) for of in self.book.records]
        shown = [one for one in networks if sees_all or one.id not in HIDDEN]
        if plural == "networks":
            return [{"id": n.id, "name": n.name, "subnets": list(n.subnet_ids)} for n in shown]
        return [_subnet(self.book.subnet(of)) for n in shown for of in n.subnet_ids]

    def lb_subnet(self) -> SubnetId:
        return self.book.network(NetworkId(network_id(LB_NETWORK.name))).subnet_ids[0]


def _subnet(subnet: Subnet) -> dict[str, Any]:
    net = ip_network(subnet.cidr)
    first = 2 if subnet.gateway_ip else 1
    pool = {"start": str(net[first]), "end": str(net[-2])}
    return {
        "id": subnet.id,
        "name": subnet.name,
        "network_id": subnet.network_id,
        "cidr": subnet.cidr,
        "gateway_ip": subnet.gateway_ip,
        "allocation_pools": [pool],
    }

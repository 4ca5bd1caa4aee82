# SPDX-License-Identifier: Apache-2.0
"""As much of Neutron as Colonnade speaks to, over real HTTP on loopback, with faults to order.

It may stand in for the real one because it passes the same promises (`tests/openstack/`). Whose
token is whose is the fake Keystone's to know. All networks but `private` and `lb` are shared.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
from tests.fakes.serving import catalogued, on_loopback
from tests.fakes.strikes import Strikes

HIDDEN = {network_id(PRIVATE.name), network_id(LB_NETWORK.name)}
# As Neutron says it: status, and the type of its error.
REFUSALS: dict[type[ColonnadeError], tuple[int, str]] = {
    OutOfCapacity: (409, "IpAddressGenerationFailure"),
    Conflict: (409, "IpAddressInUse"),
    Invalid: (400, "InvalidIpForSubnet"),
    NotFound: (404, "NotFound"),
}


def json_handler(handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
    """Of one that answers with a body; None: with none."""

    async def answered(request: web.Request) -> web.StreamResponse:
        body = await handler(request)
        if body is None:
            return web.Response(status=204)
        return web.json_response(body, status=201 if request.method == "POST" else 200)

    return answered


class FakeNeutron:
    """`fault`: the status that each call is answered with instead; `lose`: the next port is made,
    and the answer to that is lost; `page_max`: of a list, whatever is asked for. `leaving`: how
    many looks it still takes a port to leave its server."""

    def __init__(self, keystone: FakeKeystone) -> None:
        self.url = ""
        self.keystone = keystone
        self.strikes = Strikes()
        self.book = AddressBook()
        self.ports: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.leaving: dict[str, int] = {}
        self.fault: int | None = None
        self.lose = False
        self.page_max = 1000
        for record in FIRST_NETWORKS:
            self.book.add_network(record)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeNeutron"]:
        app = web.Application(middlewares=[self.strikes.middleware, self._guarded])
        add = app.router.add_route
        for plural in ("networks", "subnets", "ports", "security-groups"):
            add("GET", f"/v2.0/{plural}", json_handler(self._list))
            add("GET", f"/v2.0/{plural}/{{id}}", json_handler(self._one))
        for method, path, handler in (
            ("POST", "ports", self._create), ("PUT", "ports/{id}", self._change),
            ("DELETE", "ports/{id}", self._delete), ("POST", "security-groups", self._add_group),
            ("DELETE", "security-groups/{id}", self._delete_group),
            ("POST", "security-group-rules", self._add_rule),
            ("DELETE", "security-group-rules/{id}", self._delete_rule),
        ):  # fmt: skip
            add(method, f"/v2.0/{path}", json_handler(handler))
        async with on_loopback(app) as self.url:
            self.keystone.catalog = [catalogued("network", self.url)]
            yield self

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

    async def _list(self, request: web.Request) -> Any:
        plural = request.path.split("/")[-1]
        rows = self._rows(plural, sees_all=self._sees_all(request))
        query = dict(request.query)
        marker, limit = query.pop("marker", ""), int(query.pop("limit", "1000"))
        limit = min(limit, self.page_max)
        rows = [row for row in rows if all(_matches(row, *one) for one in query.items())]
        ids = [row["id"] for row in rows]
        after = ids.index(marker) + 1 if marker else 0
        page, name = rows[after : after + limit], plural.replace("-", "_")
        links = [{"rel": "next", "href": "..."}] if len(page) == limit else []
        return {name: page} | ({f"{name}_links": links} if links else {})

    async def _one(self, request: web.Request) -> Any:
        plural, wanted = request.path.split("/")[-2:]
        for row in self._rows(plural, sees_all=self._sees_all(request)):
            if row["id"] == wanted:
                self._leave(wanted)
                return {plural[:-1].replace("-", "_"): row}
        raise NotFound(f"{plural[:-1]} {wanted} could not be found")

    def _leave(self, port_id: str) -> None:
        if port_id in self.leaving:
            self.leaving[port_id] -= 1
            if self.leaving[port_id] < 0:
                del self.leaving[port_id]
                self.ports[port_id] |= {"device_id": "", "device_owner": ""}

    async def _create(self, request: web.Request) -> Any:
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
        own = self.keystone.tokens[request.headers["X-Auth-Token"]].body["token"]["project"]["id"]
        self.ports[made.id] = about | {
            "id": made.id,
            "mac_address": made.mac,
            "fixed_ips": [{"subnet_id": made.subnet_id, "ip_address": made.address}],
            "created_at": f"2026-01-01T00:00:{len(self.ports) % 60:02}Z",
            "project_id": about.get("project_id") or own,
            "device_id": about.get("device_id", ""),
        }
        if self.lose:
            self.lose = False
            raise web.HTTPGatewayTimeout
        return {"port": self.ports[made.id]}

    def take(self, subnet_id: SubnetId) -> None:
        """One of its addresses, by a port that is nobody's."""
        made = self.book.create_port(PortWish(id=PortId(new_id()), owner="", subnet_id=subnet_id))
        fixed = [{"subnet_id": subnet_id, "ip_address": made.address}]
        about = {"id": made.id, "network_id": made.network_id, "fixed_ips": fixed}
        self.ports[made.id] = about | {"device_id": "", "device_owner": ""}

    async def _change(self, request: web.Request) -> Any:
        port = self._port(request)
        port |= (await request.json())["port"]
        return {"port": port}

    async def _delete(self, request: web.Request) -> Any:
        self.forget(self._port(request)["id"])

    def forget(self, port_id: str) -> None:
        """Somebody deleted the port."""
        del self.ports[port_id]
        self.leaving.pop(port_id, None)
        self.book.delete_port(PortId(port_id))

    async def _add_group(self, request: web.Request) -> Any:
        about = (await request.json())["security_group"]
        made = {"id": uuid4().hex, "security_group_rules": [], **about}
        for ethertype in ("IPv4", "IPv6"):
            rule = {"id": uuid4().hex, "direction": "egress", "ethertype": ethertype}
            made["security_group_rules"].append(rule)
        self.groups[made["id"]] = made
        return {"security_group": made}

    async def _delete_group(self, request: web.Request) -> Any:
        group_id = request.match_info["id"]
        if any(group_id in port.get("security_groups", []) for port in self.ports.values()):
            raise Conflict(f"Security Group {group_id} in use.")
        if self.groups.pop(group_id, None) is None:
            raise NotFound(f"Security group {group_id} does not exist")

    async def _add_rule(self, request: web.Request) -> Any:
        about = (await request.json())["security_group_rule"]
        group = self.groups[about["security_group_id"]]
        if any(_alike(about, rule) for rule in group["security_group_rules"]):
            raise Conflict("Security group rule already exists.")
        made = {"id": uuid4().hex, **about}
        group["security_group_rules"].append(made)
        return {"security_group_rule": made}

    async def _delete_rule(self, request: web.Request) -> Any:
        for group in self.groups.values():
            for rule in group["security_group_rules"]:
                if rule["id"] == request.match_info["id"]:
                    group["security_group_rules"].remove(rule)
                    return
        raise NotFound("Security group rule does not exist")

    def _port(self, request: web.Request) -> dict[str, Any]:
        port_id = request.match_info["id"]
        if port_id not in self.ports:
            raise NotFound(f"port {port_id} could not be found")
        return self.ports[port_id]

    def _rows(self, plural: str, *, sees_all: bool) -> Sequence[dict[str, Any]]:
        if plural == "ports":
            return list(self.ports.values()) if sees_all else []
        if plural == "security-groups":
            return list(self.groups.values()) if sees_all else []
        networks = [self.book.network(of) for of in self.book.records]
        shown = [one for one in networks if sees_all or one.id not in HIDDEN]
        if plural == "networks":
            return [{"id": n.id, "name": n.name, "subnets": list(n.subnet_ids)} for n in shown]
        return [_subnet(self.book.subnet(of)) for n in shown for of in n.subnet_ids]

    def lb_subnet(self) -> SubnetId:
        return self.book.network(NetworkId(network_id(LB_NETWORK.name))).subnet_ids[0]


def _matches(row: dict[str, Any], name: str, text: str) -> bool:
    if name == "fixed_ips":
        wanted = text.partition("=")[2]
        return any(ip["subnet_id"] == wanted for ip in row["fixed_ips"])
    if name == "security_groups":
        return text in row.get(name, [])
    return str(row.get(name)) == text


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one | {"id": ""} == other | {"id": "", "security_group_id": one["security_group_id"]}


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

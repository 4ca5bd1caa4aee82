# SPDX-License-Identifier: Apache-2.0
"""As much of Nova and Glance as Colonnade speaks to, over real HTTP on loopback, with faults to
order.

It may stand in for the real ones because it passes the same promises (`tests/openstack/`). Servers
are built and go a few looks after they were told to; a port is in one server at most.
"""

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from aiohttp import web

from tests.fakes.neutron import FakeNeutron, json_handler
from tests.fakes.serving import catalogued, on_loopback
from tests.fakes.strikes import Strikes

FLAVOR, IMAGE, TAG = "m1.amphora", uuid4().hex, "amphora"
ON, OFF = 1, 4
REFUSALS = {400: "badRequest", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest"}


class FakeNova:
    """`looks`: at a server, before it is built, and before it is gone. `room`: of each host.
    `quota`: of all servers. `soft`: what is deleted is kept until it is forced. `stuck`: hosts that
    do nothing. `cell_down`: what Nova has there cannot be told."""

    def __init__(self, neutron: FakeNeutron) -> None:
        self.url = ""
        self.neutron = neutron
        self.strikes = Strikes()
        self.servers: dict[str, dict[str, Any]] = {}
        self.bodies: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.group_full = False
        self.images = [image(IMAGE, TAG, "2026-01-01T00:00:00Z")]
        self.hosts: dict[str, dict[str, Any]] = {name: _host(name) for name in ("one", "two")}
        self.looks, self.room, self.quota = 1, 100, 1000
        self.soft = self.cell_down = False
        self.stuck: set[str] = set()
        self.fault: int | None = None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeNova"]:
        app = web.Application(middlewares=[self.strikes.middleware, self._guarded])
        add = app.router.add_route
        for method, path, handler in (
            ("GET", "servers", self._brief), ("GET", "servers/detail", self._list),
            ("GET", "servers/{id}", self._one), ("POST", "servers", self._create),
            ("DELETE", "servers/{id}", self._delete), ("POST", "servers/{id}/action", self._force),
            ("POST", "servers/{id}/os-interface", self._attach),
            ("DELETE", "servers/{id}/os-interface/{port}", self._detach),
            ("GET", "os-services", self._services), ("GET", "flavors", self._flavors),
            ("GET", "flavors/{id}", self._no_flavor), ("GET", "os-server-groups", self._groups),
            ("POST", "os-server-groups", self._add_group),
        ):  # fmt: skip
            add(method, f"/v2.1/{path}", json_handler(handler))
        add("GET", "/v2/images", json_handler(self._images))
        add("GET", "/v2/images/{id}", json_handler(self._image))
        async with on_loopback(app) as self.url:
            for kind, url in (("compute", f"{self.url}/v2.1"), ("image", self.url)):
                self.neutron.keystone.catalog.append(catalogued(kind, url))
            yield self

    def of(self, amphora_id: str) -> list[dict[str, Any]]:
        return [one for one in self.servers.values() if one["name"] == f"amphora-{amphora_id}"]

    def cut_power(self, amphora_id: str) -> None:
        for one in self.of(amphora_id):
            one |= {"status": "SHUTOFF", "OS-EXT-STS:power_state": OFF}

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.fault is not None:
            return web.json_response({}, status=self.fault)
        token = self.neutron.keystone.tokens.get(request.headers.get("X-Auth-Token", ""))
        if token is None or token.revoked:
            return web.json_response({}, status=401)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _brief(self, request: web.Request) -> Any:
        rows = [{"id": one["id"], "name": one["name"]} for one in self.servers.values()]
        if self.cell_down:
            rows = [{"id": row["id"], "status": "UNKNOWN"} for row in rows]
        return {"servers": rows}

    async def _list(self, request: web.Request) -> Any:
        name, tag = request.query.get("name", ""), request.query.get("tags")
        for server in list(self.servers.values()):
            self._passes(server)
        found = [] if self.cell_down else list(self.servers.values())
        return {"servers": [o for o in found if re.search(name, o["name"]) and tag in o["tags"]]}

    async def _one(self, request: web.Request) -> Any:
        self._passes(self._server(request))
        return {"server": self._server(request)}

    def _passes(self, server: dict[str, Any]) -> None:
        """A while, by each look."""
        server["looks"] += 1
        if server["host"] in self.stuck or server["looks"] <= self.looks:
            return
        if server["going"] and not (self.soft and not server["forced"]):
            self._gone(server)
        elif server["going"]:
            server["status"] = "SOFT_DELETED"
        elif server["status"] == "BUILD":
            self._build(server)

    async def _create(self, request: web.Request) -> Any:
        body = await request.json()
        about = body["server"]
        (network,) = about["networks"]
        port = self.neutron.ports.get(network["port"])
        group = body.get("os:scheduler_hints", {}).get("group")
        if port is None:
            raise _refusal(400, f"Port {network['port']} could not be found.")
        if port["device_id"]:
            raise _refusal(409, f"Port {port['id']} is still in use.")
        if len(self.servers) >= self.quota:
            raise _refusal(403, f"Quota exceeded for instances: but used {len(self.servers)}")
        if group and self.group_full:
            raise _refusal(403, "Quota exceeded, too many servers in group")
        self.bodies.append(body)
        made = {
            "id": str(uuid4()), "name": about["name"], "tags": about["tags"], "status": "BUILD",
            "created": f"2026-01-01T00:00:{len(self.servers):02}Z", "OS-EXT-STS:power_state": 0,
            "looks": 0, "going": False, "forced": False, "port": port["id"], "group": group,
            "host": "", "hostId": "",
        }  # fmt: skip
        self.servers[made["id"]] = made
        return {"server": {"id": made["id"]}}

    def _build(self, server: dict[str, Any]) -> None:
        port = self.neutron.ports.get(server["port"])
        taken = [one["host"] for one in self.servers.values() if one["host"]]
        rivals = [o for o in self.servers.values() if server["group"] and o["host"]]
        apart = {one["host"] for one in rivals if one["group"] == server["group"]}
        open_to = [h for h, about in self.hosts.items() if about["state"] == "up"]
        open_to = [h for h in open_to if taken.count(h) < self.room]
        policies = {one["id"]: one["policy"] for one in self.groups}
        if policies.get(server["group"]) == "anti-affinity":
            open_to = [h for h in open_to if h not in apart]
        why = "" if open_to else "No valid host was found. There are not enough hosts available."
        if port is None or port["device_id"]:
            why = f"Build of instance {server['id']} aborted: Port {server['port']} is in use"
        if why:
            server |= {"status": "ERROR", "fault": {"code": 500, "message": why}}
            return
        host = min(open_to, key=lambda h: (h in apart, taken.count(h)))
        server |= {
            "status": "ACTIVE", "OS-EXT-STS:power_state": ON, "host": host, "hostId": uuid4().hex,
            "OS-EXT-SRV-ATTR:host": host,
        }  # fmt: skip
        assert port is not None
        port |= {"device_id": server["id"], "device_owner": "compute:nova"}

    async def _delete(self, request: web.Request) -> Any:
        server = self._server(request)
        server |= {"going": True, "looks": 0}
        return None

    async def _force(self, request: web.Request) -> Any:
        assert "forceDelete" in await request.json()
        server = self._server(request)
        server |= {"going": True, "forced": True, "looks": 0}
        self.stuck.discard(server["host"])
        return None

    def _gone(self, server: dict[str, Any]) -> None:
        del self.servers[server["id"]]
        for port in self.neutron.ports.values():
            if port["device_id"] == server["id"]:
                port |= {"device_id": "", "device_owner": ""}

    async def _attach(self, request: web.Request) -> Any:
        server = self._server(request)
        wanted = (await request.json())["interfaceAttachment"]["port_id"]
        port = self.neutron.ports.get(wanted)
        if port is None:
            raise _refusal(404, f"Port {wanted} could not be found.")
        if server["status"] != "ACTIVE":
            raise _refusal(409, f"Cannot attach: instance is in {server['status']}")
        if port["device_id"]:
            raise _refusal(400, f"Port {wanted} is still in use.")
        port |= {"device_id": server["id"], "device_owner": "compute:nova"}
        return {"interfaceAttachment": {"port_id": wanted}}

    async def _detach(self, request: web.Request) -> Any:
        server, port = self._server(request), self.neutron.ports.get(request.match_info["port"])
        if port is None or port["device_id"] != server["id"]:
            raise _refusal(404, "Port is not attached")
        self.neutron.leaving[port["id"]] = self.looks
        return None

    async def _services(self, request: web.Request) -> Any:
        wanted = request.query.get("host")
        known = self.hosts.items()
        return {"services": [one for name, one in known if wanted in (None, name)]}

    async def _flavors(self, request: web.Request) -> Any:
        return {"flavors": [{"id": "7", "name": FLAVOR}]}

    async def _no_flavor(self, request: web.Request) -> Any:
        raise _refusal(404, "Flavor could not be found.")

    async def _groups(self, request: web.Request) -> Any:
        return {"server_groups": self.groups}

    async def _add_group(self, request: web.Request) -> Any:
        made = {"id": uuid4().hex, **(await request.json())["server_group"]}
        self.groups.append(made)
        return {"server_group": made}

    async def _images(self, request: web.Request) -> Any:
        tag, query = request.query["tag"], request.query
        found = [one for one in self.images if tag in one["tags"]]
        return {"images": [o for o in found if query.get("owner", o["owner"]) == o["owner"]]}

    async def _image(self, request: web.Request) -> Any:
        for one in self.images:
            if one["id"] == request.match_info["id"]:
                return one
        raise _refusal(404, "No image found")

    def _server(self, request: web.Request) -> dict[str, Any]:
        found = self.servers.get(request.match_info["id"])
        if found is None:
            raise _refusal(404, f"Instance {request.match_info['id']} could not be found.")
        return found


def _refusal(status: int, message: str) -> web.HTTPException:
    said = {REFUSALS[status]: {"code": status, "message": message}}
    kinds = {
        400: web.HTTPBadRequest, 403: web.HTTPForbidden, 404: web.HTTPNotFound,
        409: web.HTTPConflict,
    }  # fmt: skip
    return kinds[status](text=web.json_response(said).text, content_type="application/json")


def image(image_id: str, tag: str, at: str) -> dict[str, Any]:
    return {"id": image_id, "tags": [tag], "status": "active", "created_at": at, "owner": "service"}


def _host(name: str) -> dict[str, Any]:
    heard = "2026-01-01T00:00:00.000000"
    return {"host": name, "state": "up", "forced_down": False, "updated_at": heard}

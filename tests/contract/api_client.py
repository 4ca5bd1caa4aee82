# SPDX-License-Identifier: Apache-2.0
"""The real application over a real database, called in memory: what the contract tests ask."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest_asyncio

from colonnade.api.app import create_app
from colonnade.api.http.call import Site
from colonnade.drivers.secrets.database import Seal
from colonnade.providers.enabled import Ours, enabled_providers
from colonnade.store.postgres.database import Database
from tests.fakes.network import PRIVATE_SUBNET, FakeNetwork

SEAL = Seal(bytes(32))
ALL = ("amphora", "octavia", "noop")


class Api:
    """Answers are decoded; a status other than the expected one fails with the answer."""

    def __init__(self, client: httpx.AsyncClient, network: FakeNetwork) -> None:
        self.client = client
        self.network = network

    async def ask(self, method: str, path: str, status: int = 200, **words: Any) -> Any:
        answer = await self.client.request(method, path, **words)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def get(self, path: str, status: int = 200, **words: Any) -> Any:
        return await self.ask("GET", f"/v2/lbaas/{path}", status, **words)

    async def post(self, path: str, body: Any, status: int = 201, **words: Any) -> Any:
        return await self.ask("POST", f"/v2/lbaas/{path}", status, json=body, **words)

    async def put(self, path: str, body: Any, status: int = 200, **words: Any) -> Any:
        return await self.ask("PUT", f"/v2/lbaas/{path}", status, json=body, **words)

    async def delete(self, path: str, status: int = 204, **words: Any) -> Any:
        return await self.ask("DELETE", f"/v2/lbaas/{path}", status, **words)

    async def load_balancer(self, provider: str = "noop", **more: Any) -> Any:
        body = {"vip_subnet_id": PRIVATE_SUBNET, "provider": provider} | more
        return (await self.post("loadbalancers", {"loadbalancer": body}))["loadbalancer"]

    async def listener(self, root: Any, status: int = 201, **more: Any) -> Any:
        body = {"loadbalancer_id": root["id"], "protocol": "HTTP", "protocol_port": 80} | more
        answer = await self.post("listeners", {"listener": body}, status)
        return answer["listener"] if status == 201 else answer

    async def pool(self, root: Any, status: int = 201, **more: Any) -> Any:
        body = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"} | more
        if "listener_id" not in body:
            body["loadbalancer_id"] = root["id"]
        answer = await self.post("pools", {"pool": body}, status)
        return answer["pool"] if status == 201 else answer

    async def member(self, pool: Any, status: int = 201, **more: Any) -> Any:
        body = {"address": "10.0.0.11", "protocol_port": 8080} | more
        answer = await self.post(f"pools/{pool['id']}/members", {"member": body}, status)
        return answer["member"] if status == 201 else answer

    async def monitor(self, pool: Any, status: int = 201, **more: Any) -> Any:
        body = {"pool_id": pool["id"], "type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
        answer = await self.post("healthmonitors", {"healthmonitor": body | more}, status)
        return answer["healthmonitor"] if status == 201 else answer


@pytest_asyncio.fixture
async def api(database: Database) -> AsyncIterator[Api]:
    async with serving(database) as api:
        yield api


@asynccontextmanager
async def serving(
    database: Database,
    network: FakeNetwork | None = None,
    default: str = "amphora",
    ours: Ours = Ours(),  # noqa: B008 - frozen
    **more: Any,
) -> AsyncIterator[Api]:
    """`ours`, `more`: what our provider and this site have besides."""
    network = network or FakeNetwork()
    providers = enabled_providers(ALL, default=default, network=network, ours=ours)
    site = Site(database=database, providers=providers, network=network, seal=SEAL, **more)
    transport = httpx.ASGITransport(app=create_app(site), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield Api(client, network)

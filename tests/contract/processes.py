# SPDX-License-Identifier: Apache-2.0
"""Several API processes over one database, in one process: they share nothing but the rows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from colonnade.api.app import create_app
from colonnade.api.http.call import Site
from colonnade.providers.enabled import enabled_providers
from colonnade.store.postgres.database import Database
from tests.contract.api_client import ALL, SEAL, Api
from tests.fakes.network import FakeNetwork


class Process(Api):
    def __init__(self, client: httpx.AsyncClient, network: FakeNetwork, database: Database) -> None:
        super().__init__(client, network)
        self.database = database


@asynccontextmanager
async def process(url: str, network: FakeNetwork | None = None) -> AsyncIterator[Process]:
    database = await Database.connect(url)
    network = network or FakeNetwork()
    providers = enabled_providers(ALL, default="amphora", network=network)
    app = create_app(Site(database=database, providers=providers, network=network, seal=SEAL))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            yield Process(client, network, database)
    finally:
        await database.close()

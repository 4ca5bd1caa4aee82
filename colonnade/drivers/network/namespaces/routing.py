# SPDX-License-Identifier: Apache-2.0
"""The routes of the router, as they are set in the daemon: book and kernel agree.

Invariant: the kernel has no route that the book has not. A route is written first and then set, and
taken from the kernel first and then from the book; what a killed daemon left half done is done by
the next one's `furnish`. It knows no load balancer.
"""

import asyncio
from collections.abc import Sequence

import structlog

from colonnade.domain.errors import Unavailable
from colonnade.drivers.network.namespaces.address_book import AddressBook, NetworkRecord
from colonnade.drivers.network.namespaces.fabric import Fabric
from colonnade.drivers.network.namespaces.route_book import (
    RouteBook,
    RouteRecord,
    read_destination,
)
from colonnade.drivers.network.protocol import Port, Route

log = structlog.get_logger()


class Routing:
    def __init__(self, book: RouteBook, addresses: AddressBook, fabric: Fabric) -> None:
        self._book = book
        self._addresses = addresses
        self._fabric = fabric
        self._turn = asyncio.Lock()  # book and kernel change together, one route at a time

    async def furnish(self) -> None:
        """All routes of the book and nothing else, once the router has its links."""
        try:
            await self._fabric.tidy_routes()
        except Unavailable as error:  # as of a kernel that knows no next hops, and so has none
            log.warning("next hops that nobody uses may be there", reason=error.detail)
        for record in list(self._book.records.values()):
            await self._set(record)

    async def routes(self) -> Sequence[Route]:
        return [record.route for record in self._book.records.values()]

    async def route(self, destination: str) -> Route:
        return self._book.get(destination)

    async def set_route(self, route: Route) -> Route:
        async with self._turn:
            record = self._book.put(route)
            await self._set(record)
            return record.route

    async def delete_route(self, destination: str) -> None:
        async with self._turn:
            record = self._book.records.get(str(read_destination(destination)))
            if record is not None:
                await self._delete(record)

    async def forget(self, port: Port) -> None:
        """No route leads to the port any more: its address will be another's."""
        async with self._turn:
            for record in self._book.without(port):
                if record.route.next_hops:
                    self._book.replace(record)
                    await self._set(record)
                else:
                    await self._delete(record)

    def check_new_network(self, record: NetworkRecord) -> None:
        """Raises Conflict when its clients would not reach what is routed now."""
        for cidr in record.cidrs:
            self._book.check_range(cidr)

    async def _set(self, record: RouteRecord) -> None:
        network = self._addresses.network(record.route.network_id).name
        await self._fabric.set_route(record.number, record.route, network)

    async def _delete(self, record: RouteRecord) -> None:
        await self._fabric.delete_route(record.number, record.route.destination)
        self._book.drop(record.route.destination)

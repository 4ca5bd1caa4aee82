# SPDX-License-Identifier: Apache-2.0
"""Ports of the machine's own addresses that lead to load balancers.

Invariant: no port of an address leads to two of them, and none on which the machine's own program
listened when it was asked for. The book is written first, and then the packet filter is set from
all of it. It knows no listener.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from colonnade.domain.errors import Conflict, Invalid, Unavailable
from colonnade.domain.ids import PortId, SubnetId
from colonnade.drivers.network.namespaces.address_book import BRIDGE, AddressBook, twin_id
from colonnade.drivers.network.namespaces.host_table import Contents, Led
from colonnade.drivers.network.protocol import Forward, Port, Reach, Taken


class Forwarded(msgspec.Struct, frozen=True, kw_only=True):
    """As it is kept: the ports that lead to one VIP."""

    port_id: PortId
    forwards: tuple[Forward, ...]


class ForwardStorage(Protocol):
    """What outlives the book. Each call has happened, durably, when it returns."""

    def put_forwards(self, record: Forwarded) -> None: ...
    def drop_forwards(self, port_id: PortId) -> None: ...


class PacketFilter(Protocol):
    """Of the machine."""

    async def listening(self, address: str) -> Sequence[Forward]:
        """Ports on which its own programs listen."""

    async def set_table(self, contents: Contents) -> None:
        """The whole of it, at once."""


class PortForwards:
    """`network`: None where the machine's own was not given."""

    def __init__(
        self, book: AddressBook, storage: ForwardStorage, network: PacketFilter | None
    ) -> None:
        self._book = book
        self._storage = storage
        self._network = network
        self._known: dict[PortId, Forwarded] = {}
        self._turn = asyncio.Lock()  # book and packet filter change together

    def load(self, records: Iterable[Forwarded]) -> None:
        """What a storage kept, of ports that there are."""
        self._known = {r.port_id: r for r in records if r.port_id in self._book.ports}

    async def furnish(self) -> None:
        """The packet filter as the book has it."""
        if self._network is not None:
            await self._network.set_table(self._contents())

    async def taken(self, subnet_id: SubnetId, address: str) -> Sequence[Taken]:
        subnet = self._book.subnet(subnet_id)
        if self._network is None or subnet.reach is not Reach.PORTS:
            return []
        own = await self._network.listening(address)
        return [*(Taken(one) for one in own), *self._of_others(address, None)]

    async def set_forwards(self, port_id: PortId, forwards: Sequence[Forward]) -> None:
        async with self._turn:
            port = self._book.port(port_id)
            if self._book.subnet(port.subnet_id).reach is not Reach.PORTS:
                raise Invalid(f"all ports of {port.address} lead to its VIP", field="port_id")
            known = self._known.get(port_id)
            wanted = tuple(sorted(set(forwards)))
            if known is not None and known.forwards == wanted:
                return
            await self._check(port, set(wanted) - set(known.forwards if known else ()))
            record = Forwarded(port_id=port_id, forwards=wanted)
            self._storage.put_forwards(record)
            self._known[port_id] = record
            await self.furnish()

    async def forget(self, port_id: PortId) -> None:
        """Nothing leads there any more."""
        async with self._turn:
            if self._known.pop(port_id, None) is not None:
                self._storage.drop_forwards(port_id)
                await self.furnish()

    async def _check(self, port: Port, fresh: set[Forward]) -> None:
        if self._network is None:
            raise Unavailable("the network daemon was started without the machine's own networks")
        if not fresh:
            return
        own = set(await self._network.listening(port.address)) & fresh
        for one in sorted(own):
            place = _place(port, one)
            raise Conflict(f"a program of this machine listens on {one.transport} {place} itself")
        for taken in self._of_others(port.address, port.id):
            if taken.forward in fresh:
                place = _place(port, taken.forward)
                raise Conflict(f"{taken.forward.transport} {place} leads to another load balancer")

    def _of_others(self, address: str, but: PortId | None) -> Iterator[Taken]:
        for record in self._known.values():
            port = self._book.port(record.port_id)
            if port.address == address and port.id != but:
                yield from (Taken(one, port.owner) for one in record.forwards)

    def _contents(self) -> Contents:
        led = [
            Led(
                address=self._book.port(record.port_id).address,
                forward=one,
                to=self._book.port(twin_id(record.port_id)).address,
            )
            for record in self._known.values()
            for one in record.forwards
        ]
        ranges = [
            between
            for record in self._book.records.values()
            if record.uplink is not None and record.reach is Reach.LINK
            for between in record.ranges
        ]
        modes = {r.uplink.mode for r in self._book.records.values() if r.uplink is not None}
        return Contents(led=sorted(led), ranges=sorted(ranges), bridged=BRIDGE in modes)


def _place(port: Port, forward: Forward) -> str:
    host = f"[{port.address}]" if ":" in port.address else port.address
    return f"{host}:{forward.port}"

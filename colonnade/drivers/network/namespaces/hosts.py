# SPDX-License-Identifier: Apache-2.0
"""Lab hosts: machines on the users' networks, for trying things and for tests.

Invariant: a host has an address of every subnet of its network, kept while it lives. One host,
`outside`, is always there, on the public network. It does not know what a host runs, but it
has no rights.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import msgspec

from colonnade.domain.errors import ColonnadeError, Conflict, Invalid, NotFound
from colonnade.domain.ids import PortId, derived_id
from colonnade.drivers.network.namespaces.address_book import AddressBook, network_id
from colonnade.drivers.network.namespaces.fabric import Fabric, host_link
from colonnade.drivers.network.namespaces.lab import OUTSIDE, WITHOUT_RIGHTS
from colonnade.drivers.network.namespaces.links import Leg
from colonnade.drivers.network.namespaces.machines import Machine, Machines, Start
from colonnade.drivers.network.namespaces.wire import Host, HostWish
from colonnade.drivers.network.protocol import Network, Port, PortWish

HOST = "host"  # the kind of machine
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
RESERVED = {"control", "router"}  # names of namespaces
INIT = Path(__file__).with_name("host-init.sh")


class Hosts:
    def __init__(self, machines: Machines, book: AddressBook, fabric: Fabric) -> None:
        self._machines = machines
        self._book = book
        self._fabric = fabric
        self._turn = asyncio.Lock()  # asked twice at once, a host is made once

    async def furnish(self) -> None:
        """Give back the addresses of hosts that ended with an earlier lab; make `outside`."""
        alive = {_owner(_view(m).name) for m in self._machines.all(HOST) if m.is_running}
        for port in list(self._book.ports.values()):
            if port.owner.startswith(f"{HOST}:") and port.owner not in alive:
                self._book.delete_port(port.id)
        await self.add(HostWish(name=OUTSIDE))

    def all(self) -> Sequence[Host]:
        return sorted((_view(m) for m in self._machines.all(HOST)), key=lambda host: host.name)

    async def add(self, wish: HostWish) -> Host:
        """The host. Raises Conflict when another of that name runs."""
        async with self._turn:
            return await self._add(wish)

    async def remove(self, name: str) -> None:
        """Gone afterwards, with all it ran. No such host: nothing to do."""
        if name == OUTSIDE:
            raise Conflict(f"{OUTSIDE} is always there")
        async with self._turn:
            await self._clear(name)

    async def _add(self, wish: HostWish) -> Host:
        check_name(wish.name)
        if not self._book.visible(network_id(wish.network)):
            raise NotFound(f"there is no network {wish.network}")
        network = self._book.network(network_id(wish.network))
        if not self._book.records[network.id].has_bridge:
            raise Invalid(f"nobody can be on {wish.network}: the lab has no bridge for it")
        found = self._machines.find(_machine_id(wish.name), HOST)
        if found is not None and found.is_running:
            return _same(_view(found), wish)
        await self._clear(wish.name)
        ports = self._ports(wish, network)
        try:
            return _view(await self._start(wish, network, ports))
        except ColonnadeError:
            await self._clear(wish.name)
            raise

    async def _start(self, wish: HostWish, network: Network, ports: Sequence[Port]) -> Machine:
        addresses = tuple(port.address for port in ports)
        view = Host(
            name=wish.name,
            network=wish.network,
            addresses=addresses,
            command=wish.command,
            is_running=True,
        )
        start = Start(
            id=_machine_id(wish.name),
            kind=HOST,
            init=INIT,
            arguments=[wish.directory, *_without_rights(wish.command)],
            environment=dict(os.environ),
            about={"host": msgspec.json.encode(view).decode()},
        )
        newborn = await self._machines.conceive(start)
        leg = self._leg(ports)
        await self._fabric.attach_host(newborn.machine, network.name, leg)
        await self._machines.deliver(newborn, b"go\n")
        return newborn.machine

    def _ports(self, wish: HostWish, network: Network) -> list[Port]:
        """One port for each subnet; the first one's MAC is the host's."""
        version = 6 if wish.address is not None and ":" in wish.address else 4
        ports = []
        try:
            for subnet_id in network.subnet_ids:
                fits = ip_network(self._book.subnet(subnet_id).cidr).version == version
                port = PortWish(
                    id=PortId(derived_id(HOST, wish.name, subnet_id)),
                    owner=_owner(wish.name),
                    subnet_id=subnet_id,
                    address=wish.address if fits else None,
                )
                ports.append(self._book.create_port(port))
        except ColonnadeError:
            self._give_back(wish.name)
            raise
        return ports

    def _leg(self, ports: Sequence[Port]) -> Leg:
        subnets = [self._book.subnet(port.subnet_id) for port in ports]
        return Leg(
            name="eth0",
            mac=ports[0].mac,
            addresses=tuple(
                f"{port.address}/{ip_network(subnet.cidr).prefixlen}"
                for port, subnet in zip(ports, subnets, strict=True)
            ),
            gateways=tuple(s.gateway_ip for s in subnets if s.gateway_ip is not None),
        )

    async def _clear(self, name: str) -> None:
        machine_id = _machine_id(name)
        await self._machines.destroy(machine_id)
        await self._fabric.detach([host_link(machine_id)])
        self._give_back(name)

    def _give_back(self, name: str) -> None:
        for port in list(self._book.ports.values()):
            if port.owner == _owner(name):
                self._book.delete_port(port.id)


def _without_rights(command: Sequence[str]) -> Sequence[str]:
    return [*WITHOUT_RIGHTS, "--", *command] if command else ()


def check_name(name: str) -> None:
    """Raise Invalid unless the text may name a host or a network."""
    if NAME.fullmatch(name) is None or name in RESERVED:
        raise Invalid("a name has up to 32 small letters, digits and dashes", field="name")


def _machine_id(name: str) -> str:
    return f"{HOST}-{name}"


def _owner(name: str) -> str:
    return f"{HOST}:{name}"


def _view(machine: Machine) -> Host:
    host = msgspec.json.decode(machine.about["host"], type=Host)
    return msgspec.structs.replace(host, is_running=machine.is_running)


def _same(host: Host, wish: HostWish) -> Host:
    """The host that runs, if it is what is wished."""
    address_fits = wish.address is None or wish.address in host.addresses
    if (host.network, host.command) != (wish.network, wish.command) or not address_fits:
        raise Conflict(f"another host {wish.name} runs already")
    return host

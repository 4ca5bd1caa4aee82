# SPDX-License-Identifier: Apache-2.0
"""What `colonnade doctor` asks of a cloud whose services the configuration names: the message bus,
who this service is there, Barbican, and where amphorae are to be its servers the LB network, the
image and the flavor. Each answer: what was found, what to do."""

from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address, ip_network
from typing import Final

from colonnade.cli.local.lb_reach import Check, reach
from colonnade.domain.errors import ColonnadeError, NotFound
from colonnade.drivers.chosen import is_in_cloud
from colonnade.drivers.compute.nova.images import Images, flavor_of
from colonnade.drivers.network.neutron.driver import neutron_client, neutron_networks
from colonnade.drivers.openstack.credentials import of_service
from colonnade.drivers.openstack.servers import Servers
from colonnade.drivers.openstack.session import Session
from colonnade.drivers.secrets.barbican import TYPE, WORD, key_manager_of
from colonnade.notifier.bus import bus_of
from colonnade.runtime.config import Config

KEYSTONE: Final = "keystone"
ROOM_WANTED: Final = 10  # addresses on the LB network


async def checks_of(config: Config) -> AsyncIterator[Check]:
    """None where the configuration names no cloud."""
    if config.notifications.transport_url_file is not None:
        yield await _check("message bus", lambda: _message_bus(config), "see [notifications]")
    try:
        if not (
            is_in_cloud(config) or config.api.auth == KEYSTONE or config.secrets_driver == WORD
        ):
            return
        keystone = config.keystone
        session = Session(of_service(keystone), ca_file=keystone.ca_file, timeout_s=10.0)
    except ColonnadeError as error:
        yield Check("cloud", error.public, "correct the configuration")
        return
    try:
        async for check in _asked(config, session):
            yield check
    finally:
        await session.close()


async def _asked(config: Config, session: Session) -> AsyncIterator[Check]:
    nova = config.nova
    yield await _check("Keystone", lambda: _keystone(session), "see the table [keystone]")
    if config.secrets_driver == WORD:
        yield await _check("Barbican", lambda: _barbican(config, session), "see [barbican]")
    if not is_in_cloud(config):
        return
    servers = Servers(session, interface=nova.interface)
    for what, ask, cure in (
        ("Nova", servers.counted, "see the table [nova], and the roles of this user"),
        ("LB network", lambda: _lb_network(config, session), "see the table [neutron]"),
        ("amphora image", lambda: Images(session, nova).of(""), "see `colonnade image publish`"),
        ("amphora flavor", lambda: _flavor(config, session), "see `flavor` of [nova]"),
    ):
        yield await _check(what, ask, cure)
    try:
        async for check in _reach(config, session):
            yield check
    except NotFound:
        return  # told of already
    except ColonnadeError as error:
        yield Check("LB network, both ways", str(error), "see the table [neutron]")


async def _reach(config: Config, session: Session) -> AsyncIterator[Check]:
    neutron = config.neutron
    networks = neutron_networks(session, neutron.lb_subnet, interface=neutron.interface)
    subnet, ports = await networks.lb_subnet(), await networks.ports()
    asked = neutron_client(session, interface=neutron.interface)
    async for check in reach(asked, subnet, config.lb_network.address, ports):
        yield check


async def _check(what: str, ask: Callable[[], Awaitable[str | Check]], cure: str) -> Check:
    try:
        found = await ask()
    except ColonnadeError as error:
        return Check(what, str(error), cure)
    return found if isinstance(found, Check) else Check(what, found)


async def _message_bus(config: Config) -> str:
    bus = bus_of(config.notifications)
    assert bus is not None, "one is configured"
    return await bus.reached()


async def _keystone(session: Session) -> str:
    return f"{session.auth_url}, in the project {await session.project()}"


async def _barbican(config: Config, session: Session) -> Check:
    """Who may list no secret may still read what it is let read."""
    key_manager_of(config)
    root = await session.endpoint(TYPE, interface=config.barbican.interface)
    status = (await session.ask("GET", f"{root.removesuffix('/v1')}/v1/secrets?limit=1")).status
    if status in (200, 403):
        return Check("Barbican", f"{root} answers this service")
    return Check("Barbican", f"{root} answered {status}", "see its own log")


async def _lb_network(config: Config, session: Session) -> Check:
    neutron = config.neutron
    networks = neutron_networks(session, neutron.lb_subnet, interface=neutron.interface)
    subnet = await networks.lb_subnet()
    room = await networks.free_addresses(subnet.id)
    words, cure = f"{subnet.cidr}, with {room} free addresses", ""
    if room < ROOM_WANTED:
        cure = "each amphora takes an address there: enlarge its allocation pools"
    if ip_address(config.lb_network.address) not in ip_network(subnet.cidr):
        words += f"; this machine is {config.lb_network.address}, beyond it"
        cure = cure or "see that a router joins them both ways, or set lb_network.address"
    return Check("LB network", words, cure)


async def _flavor(config: Config, session: Session) -> str:
    nova = config.nova
    return await flavor_of(Servers(session, interface=nova.interface).nova, nova.flavor)

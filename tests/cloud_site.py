# SPDX-License-Identifier: Apache-2.0
"""A cloud in memory, asked over its wires, and the drivers that ask it."""

import contextlib
from collections.abc import AsyncIterator

import msgspec

from colonnade.drivers.compute.nova.amphorae import NovaCompute
from colonnade.drivers.network.neutron.driver import NeutronNetworks, neutron_networks
from colonnade.drivers.openstack.credentials import Credentials
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.config import Nova
from tests.fakes.clock import Time
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone
from tests.fakes.neutron import FakeNeutron
from tests.fakes.nova import FLAVOR, FakeNova


class CloudSite(msgspec.Struct, frozen=True):
    nova: FakeNova
    session: Session
    clock: Time
    networks: NeutronNetworks

    def compute(self, **said: object) -> NovaCompute:
        """Another controller's, with these settings."""
        settings = msgspec.convert({"flavor": FLAVOR, **said}, Nova)
        return NovaCompute(self.session, self.networks, settings, clock=self.clock)


@contextlib.asynccontextmanager
async def cloud_site() -> AsyncIterator[CloudSite]:
    clock = Time(1_800_000_000.0)
    async with (
        FakeKeystone(clock).serving() as keystone,
        FakeNeutron(keystone).serving() as neutron,
        FakeNova(neutron).serving() as nova,
    ):
        who = Credentials(auth_url=f"{keystone.url}/v3", username=USER, secret=PASSWORD)
        session = Session(who, timeout_s=30.0, clock=clock)
        networks = neutron_networks(session, neutron.lb_subnet(), clock=clock)
        try:
            yield CloudSite(nova, session, clock, networks)
        finally:
            await session.close()

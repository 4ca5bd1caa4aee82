# SPDX-License-Identifier: Apache-2.0
"""The drivers that the configuration names, open as long as a process needs them."""

import contextlib
from collections.abc import AsyncIterator

from colonnade.domain.errors import Broken
from colonnade.drivers.compute.namespaces.client import ComputeClient
from colonnade.drivers.compute.nova.amphorae import NovaCompute
from colonnade.drivers.compute.protocol import ComputeDriver
from colonnade.drivers.network.namespaces.client import NetworkClient
from colonnade.drivers.network.neutron.driver import neutron_networks
from colonnade.drivers.network.protocol import NetworkDriver
from colonnade.drivers.openstack.credentials import of_service
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.config import Config


def is_in_cloud(config: Config) -> bool:
    """Whether amphorae are servers of a cloud. Raises Broken for what cannot be served."""
    if (config.network_driver == "neutron") != (config.compute_driver == "nova"):
        raise Broken(
            'network_driver = "neutron" and compute_driver = "nova" go together: set both, or none'
        )
    if config.network_driver == "neutron" and not config.neutron.lb_subnet:
        raise Broken("the table [neutron] needs lb_subnet: the id of the LB network's subnet")
    return config.network_driver == "neutron"


@contextlib.asynccontextmanager
async def chosen_network(config: Config, office: str) -> AsyncIterator[NetworkDriver | None]:
    """None where none is configured, which suffices for the noop provider."""
    if is_in_cloud(config):
        async with _session(config, config.neutron.timeout_s) as session:
            yield _neutron(config, session)
        return
    if not config.network_url:
        yield None
        return
    pki = config.pki_dir
    client = NetworkClient(config.network_url, pki / f"{office}.pem", pki / "ca.pem")
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def chosen_drivers(
    config: Config, office: str
) -> AsyncIterator[tuple[NetworkDriver, ComputeDriver]]:
    """Of networks and of amphorae."""
    if is_in_cloud(config):
        async with _session(config, config.nova.timeout_s) as session:
            networks = _neutron(config, session)
            yield networks, NovaCompute(session, networks, config.nova)
        return
    pki = config.pki_dir
    identity, ca = pki / f"{office}.pem", pki / "ca.pem"
    network = NetworkClient(config.network_url, identity, ca)
    compute = ComputeClient(config.network_url, identity, ca)
    try:
        yield network, compute
    finally:
        await network.close()
        await compute.close()


def _neutron(config: Config, session: Session) -> NetworkDriver:
    neutron = config.neutron
    return neutron_networks(session, neutron.lb_subnet, interface=neutron.interface)


@contextlib.asynccontextmanager
async def _session(config: Config, timeout_s: float) -> AsyncIterator[Session]:
    keystone = config.keystone
    session = Session(of_service(keystone), ca_file=keystone.ca_file, timeout_s=timeout_s)
    try:
        yield session
    finally:
        await session.close()

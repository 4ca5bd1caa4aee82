# SPDX-License-Identifier: Apache-2.0
"""The services that the tests here share."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from colonnade.drivers.openstack.session import Session
from tests.openstack.environments import installed
from tests.openstack.keystone import SERVICE_PASSWORD, Administrator, Cloud, keystone
from tests.openstack.neutron import USER as NEUTRON
from tests.openstack.neutron import neutron


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    programs = installed("keystone")
    with keystone(programs, tmp_path_factory.mktemp("keystone")) as made:
        yield made


@pytest.fixture(scope="session")
def neutron_url(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs = installed("neutron")
    asyncio.run(_prepared(cloud))
    with neutron(programs, tmp_path_factory.mktemp("neutron"), cloud) as url:
        asyncio.run(_prepared(cloud, url))
        yield url


async def _prepared(cloud: Cloud, network_url: str = "") -> None:
    """Neutron's own user, and its place in the catalog."""
    session = Session(cloud.admin())
    made = Administrator(session)
    user = await made.user(NEUTRON, SERVICE_PASSWORD)
    await made.grant(user, await made.project("service"), "service", "admin")
    if network_url:
        await made.endpoint("network", network_url)
    await session.close()


@pytest.fixture
async def administrator(cloud: Cloud) -> AsyncIterator[Administrator]:
    session = Session(cloud.admin())
    made = Administrator(session)
    service = await made.user("lbaas", SERVICE_PASSWORD)
    await made.grant(service, await made.project("service"), "service", "admin")
    try:
        yield made
    finally:
        await session.close()

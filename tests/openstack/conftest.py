# SPDX-License-Identifier: Apache-2.0
"""The services that the tests here share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from colonnade.drivers.openstack.session import Session
from tests.openstack.environments import installed
from tests.openstack.keystone import SERVICE_PASSWORD, Administrator, Cloud, keystone
from tests.openstack.neutron import USER as NEUTRON
from tests.openstack.neutron import neutron as real_neutron
from tests.openstack.nova import USERS, Urls, glance, nova, placement
from tests.openstack.octavia import USER as OCTAVIA
from tests.openstack.octavia import Octavia
from tests.openstack.octavia import octavia as real_octavia
from tests.openstack.operator import Networks
from tests.openstack.stores import skip_without


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    programs = installed("keystone")
    with keystone(programs, tmp_path_factory.mktemp("keystone")) as made:
        yield made


@pytest.fixture(scope="session")
def neutron_url(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs = installed("neutron")
    asyncio.run(_user(cloud, NEUTRON))
    with real_neutron(programs, tmp_path_factory.mktemp("neutron"), cloud) as url:
        asyncio.run(_endpoint(cloud, "network", url))
        yield url


@pytest.fixture(scope="session")
def image_url(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of Glance."""
    asyncio.run(_user(cloud, "glance"))
    with glance(tmp_path_factory.mktemp("images") / "glance", cloud) as url:
        asyncio.run(_endpoint(cloud, "image", url))
        yield url


@pytest.fixture(scope="session")
def compute(
    cloud: Cloud, neutron_url: str, image_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Urls]:
    """Nova, with Placement and Glance; Neutron is there, too."""
    skip_without()
    for user in USERS:
        asyncio.run(_user(cloud, user))
    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("compute")
        places = stack.enter_context(placement(folder / "placement", cloud))
        asyncio.run(_endpoint(cloud, "placement", places))
        url = stack.enter_context(nova(folder / "nova", cloud, image_url))
        asyncio.run(_endpoint(cloud, "compute", url))
        yield Urls(places, image_url, url)


@pytest.fixture(scope="session")
def octavia(
    cloud: Cloud, neutron_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Octavia]:
    """With its ports in the real Neutron."""
    skip_without(messages=False)
    installed("octavia")
    asyncio.run(_user(cloud, OCTAVIA))
    with real_octavia(tmp_path_factory.mktemp("octavia") / "octavia", cloud) as made:
        asyncio.run(_endpoint(cloud, "load-balancer", made.url))
        yield made


async def _user(cloud: Cloud, name: str) -> None:
    """A service's own."""
    async with _administering(cloud) as made:
        user = await made.user(name, SERVICE_PASSWORD)
        await made.grant(user, await made.project("service"), "service", "admin")


async def _endpoint(cloud: Cloud, kind: str, url: str) -> None:
    async with _administering(cloud) as made:
        await made.endpoint(kind, url)


@contextlib.asynccontextmanager
async def _administering(cloud: Cloud) -> AsyncIterator[Administrator]:
    session = Session(cloud.admin(), timeout_s=60.0)
    try:
        yield Administrator(session)
    finally:
        await session.close()


@pytest.fixture
async def administrator(cloud: Cloud) -> AsyncIterator[Administrator]:
    await _user(cloud, "lbaas")
    async with _administering(cloud) as made:
        yield made


@pytest.fixture
async def session(cloud: Cloud, administrator: Administrator) -> AsyncIterator[Session]:
    made = Session(cloud.credentials("lbaas", SERVICE_PASSWORD, "service"), timeout_s=60.0)
    yield made
    await made.close()


@pytest.fixture
async def neutron(session: Session, neutron_url: str) -> AsyncIterator[Networks]:
    made = Networks(session, neutron_url)
    await made.clear()
    yield made
    await made.clear()

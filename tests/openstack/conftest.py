# SPDX-License-Identifier: Apache-2.0
"""The services that the tests here share."""

from collections.abc import AsyncIterator, Iterator

import pytest

from colonnade.drivers.openstack.session import Session
from tests.openstack.environments import installed
from tests.openstack.keystone import SERVICE_PASSWORD, Administrator, Cloud, keystone


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    programs = installed("keystone")
    with keystone(programs, tmp_path_factory.mktemp("keystone")) as made:
        yield made


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

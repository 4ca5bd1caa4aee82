# SPDX-License-Identifier: Apache-2.0
"""What `colonnade doctor` finds of the cloud's services that the configuration names."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from colonnade.cli.local.cloud_checks import checks_of
from colonnade.cli.local.lb_reach import Check
from colonnade.runtime.config import Api, Config, Notifications
from tests.fakes.barbican import FakeBarbican
from tests.fakes.clock import Time
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone
from tests.identity_worlds import settings_of


@pytest.fixture
async def fake() -> AsyncIterator[FakeBarbican]:
    async with FakeKeystone(Time(4_000_000_000.0)).serving() as keystone:
        async with FakeBarbican(keystone).serving() as made:
            yield made


@pytest.fixture
def config(fake: FakeBarbican, tmp_path: Path) -> Config:
    keystone = settings_of(tmp_path, fake.keystone.url, USER, PASSWORD, timeout_s=30.0)
    return Config(
        state_dir=tmp_path, run_dir=tmp_path, database_url="", api=Api(auth="keystone"),
        keystone=keystone, secrets_driver="barbican",
    )  # fmt: skip


async def asked(config: Config) -> list[Check]:
    return [check async for check in checks_of(config)]


async def test_services_that_answer_are_told_and_none_where_none_is_named(
    fake: FakeBarbican, config: Config
) -> None:
    found = await asked(config)
    assert [(one.what, one.cure) for one in found] == [("Keystone", ""), ("Barbican", "")]
    fake.fault = 403  # it need not list secrets
    assert [one.cure for one in await asked(config)] == ["", ""]
    (one,) = await asked(replace(config, secrets_driver="database"))
    assert one.what == "Keystone"
    assert await asked(replace(config, secrets_driver="database", api=Api())) == []


async def test_what_is_wrong_is_told_with_what_to_do(fake: FakeBarbican, config: Config) -> None:
    async def wrong(**other: Any) -> Check:
        found = await asked(replace(config, **other))
        (one,) = (one for one in found if one.cure)
        assert PASSWORD not in str(found)
        return one

    nobody = replace(config.keystone, username="")
    assert "needs username" in (await wrong(keystone=nobody)).found
    assert 'need auth "keystone"' in (await wrong(api=Api())).found
    fake.fault = 500
    assert "answered 500" in (await wrong()).found
    fake.fault = 418
    assert "answered 418" in (await wrong()).found
    internal = replace(config.barbican, interface="internal")
    assert "no internal endpoint" in (await wrong(barbican=internal)).found


async def test_a_message_bus_that_does_not_answer_is_told_without_its_password(
    config: Config, tmp_path: Path
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and nobody listens
        place = f"127.0.0.1:{nobody.getsockname()[1]}"
        file = tmp_path / "transport"
        file.write_text(f"rabbit://colonnade:{PASSWORD}@{place}/")
        file.chmod(0o600)
        alone = replace(config, secrets_driver="database", api=Api())
        (one,) = await asked(replace(alone, notifications=Notifications(transport_url_file=file)))
    assert one.what == "message bus" and one.cure == "see [notifications]"
    assert one.found == f"the message bus at {place}: Connection refused"

# SPDX-License-Identifier: Apache-2.0
"""`colonnade api` as a process with `auth = "keystone"`, and what becomes of tokens when Keystone
(a server of tests) is away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from colonnade.runtime.clock import SystemClock
from tests.api_server import Server, eventually, serving
from tests.fakes.keystone import PASSWORD, USER, FakeKeystone
from tests.identity_worlds import settings_of

PATH = "/v2.0/lbaas/loadbalancers"


@pytest.fixture
async def keystone() -> AsyncIterator[FakeKeystone]:
    async with FakeKeystone(SystemClock()).serving() as made:
        yield made


async def status(server: Server, token: str) -> int:
    answer = await server.get(PATH, **({"X-Auth-Token": token} if token else {}))
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith('Keystone uri="http://127.0.0.1:')
    return answer.status_code


async def test_the_process_believes_keystone_tells_nobody_and_ends_cleanly(
    keystone: FakeKeystone, database_url: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path, f"{keystone.url}/v3", USER, PASSWORD)
    told = {
        "auth_url": keystone.url, "username": USER, "secret_file": str(settings.secret_file),
        "remembered_s": 0.2,
    }  # fmt: skip
    member = keystone.issue("member", project="mine").secret
    stranger = keystone.issue("member", project="mine").secret
    async with serving(tmp_path, database_url, auth="keystone", keystone=told) as server:
        for _ in range(8):
            assert [await status(server, token) for token in (member, "", "x")] == [200, 401, 401]
        assert keystone.logins == 1
        keystone.fault = 500
        assert await status(server, member) == 200
        assert await status(server, stranger) == 503
        keystone.fault = None
        keystone.tokens[member].revoked = True

        async def is_dead() -> bool:
            return {await status(server, member) for _ in range(8)} == {401}

        await eventually(is_dead, within_s=30)
        said = server.said
    assert not [one for one in (PASSWORD, *keystone.tokens) if one in said]

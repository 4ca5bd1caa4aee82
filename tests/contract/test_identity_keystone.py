# SPDX-License-Identifier: Apache-2.0
"""What mode `keystone` promises besides: scopes, services that go on for users, and Keystone away,
slow, broken or forgetful. Keystone's wire is `tests/fakes/keystone.py`."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from colonnade.api.identity.keystone import AGAIN_S, QUESTIONS_MAX
from colonnade.api.identity.modes import check_identity
from colonnade.domain.errors import Broken, NotAuthenticated, Unavailable
from colonnade.drivers.openstack.session import REFUSED_S
from colonnade.runtime.config import Api, Config, Keystone
from colonnade.store.postgres.database import Database
from tests.api_server import eventually
from tests.contract.test_identity import asking as application
from tests.fakes.keystone import PASSWORD, USER
from tests.identity_worlds import WireTokens, wire_tokens

ODD = {"expires_at": "never", "user": {"id": "u"}, "project": {"id": "mine"}}
FAULTS = [500, 503, 403, 418, "{", "[]", '{"token": {}}', '{"token": {"expires_at": 5}}',
          json.dumps({"token": ODD})]  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WireTokens]:
    async with wire_tokens(tmp_path, timeout_s=30.0) as made:
        yield made


async def ask(world: WireTokens, token: str, service: str = "") -> Any:
    headers = {b"x-auth-token": token.encode()}
    if service:
        headers[b"x-service-token"] = service.encode()
    return await world.identity.caller(headers)


async def test_a_role_counts_in_a_project_or_in_the_whole_system_and_nowhere_else(
    world: WireTokens,
) -> None:
    issue = world.server.issue
    found = await ask(world, issue("Admin", "member", project="p1").secret)
    assert (found.project, found.roles) == ("p1", {"admin", "member"})
    found = await ask(world, issue("admin", system=True).secret)
    assert (found.project, found.roles) == (None, {"admin"})
    for nothing in (issue("admin", domain="default"), issue()):
        found = await ask(world, nothing.secret)
        assert (found.project, found.roles) == (None, frozenset())


async def test_the_token_goes_along_for_other_services_and_is_never_shown(
    world: WireTokens,
) -> None:
    issued = world.server.issue("member", project="shop")
    for _ in range(2):  # asked, and remembered
        caller = await ask(world, issued.secret)
        assert caller.token == issued.secret
        assert issued.secret not in f"{caller!r} {caller}"


async def test_what_a_stranger_is_told(database: Database, world: WireTokens) -> None:
    uri = f'Keystone uri="{world.server.url}/v3"'
    good = await world.issue("member")
    rows: list[tuple[dict[str, str], int]] = [
        ({}, 401), ({"X-Auth-Token": "x"}, 401), ({"X-Auth-Token": good}, 200),
        ({"X-Auth-Token": good, "X-Service-Token": "x"}, 401),
        ({"X-Auth-Token": world.server.issue("admin", domain="d").secret}, 403),
        ({"X-Auth-Token": world.server.issue("admin", system=True).secret}, 200),
    ]  # fmt: skip
    async with application(database, identity=world.identity) as client:
        for headers, status in rows:
            answer = await client.get("/v2.0/lbaas/loadbalancers", headers=headers)
            assert answer.status_code == status, (headers, answer.text)
            assert (answer.headers.get("www-authenticate") == uri) == (status == 401)
        assert (await client.get("/")).status_code == 200
        world.server.fault = 500
        answer = await client.get("/v2/lbaas/pools", headers={"X-Auth-Token": "unknown"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["faultstring"] == "The identity service cannot be asked now."


async def test_a_service_goes_on_for_a_user_whose_token_has_expired(world: WireTokens) -> None:
    user = await world.issue("member", seconds=10)
    service = world.server.issue("service", project="service").secret
    other = world.server.issue("admin", project="service").secret
    world.clock.at += 11
    assert (await ask(world, user, service)).roles == {"member"}
    for behind in ("", other, "x", user):
        with pytest.raises(NotAuthenticated):
            await ask(world, user, behind)
    assert (await ask(world, user, service)).project == "mine"
    world.server.tokens[user].revoked = True
    world.clock.at += world.remembered_s + 1
    with pytest.raises(NotAuthenticated):
        await ask(world, user, service)


async def test_a_token_that_expires_is_not_remembered_beyond_that(world: WireTokens) -> None:
    user = await world.issue("member", seconds=10)
    await ask(world, user)
    world.clock.at += 9
    await ask(world, user)
    world.server.fault = 500
    world.clock.at += 2
    with pytest.raises(Unavailable):
        await ask(world, user)


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_keystone_says_it_is_yes_no_or_unavailable(
    world: WireTokens, fault: int | str
) -> None:
    known, unknown = await world.issue("member"), await world.issue("member")
    await ask(world, known)
    world.server.fault = fault
    with pytest.raises(Unavailable):
        await ask(world, unknown)
    world.clock.at += world.remembered_s + 1
    assert (await ask(world, known)).roles == {"member"}
    world.server.fault = None
    world.clock.at += AGAIN_S + REFUSED_S
    assert (await ask(world, unknown)).roles == {"member"}


async def test_who_is_known_lives_on_for_the_stated_time(tmp_path: Path) -> None:
    async with wire_tokens(tmp_path, lived_on_s=100.0) as world:
        token = await world.issue("member")
        await ask(world, token)
        world.server.fault = 503
        for _ in range(9):
            world.clock.at += 10
            assert (await ask(world, token)).project == "mine"
        world.clock.at += 11
        with pytest.raises(Unavailable):
            await ask(world, token)
        world.server.fault = None
        world.clock.at += AGAIN_S
        assert (await ask(world, token)).project == "mine"


async def test_who_is_known_does_not_wait_for_a_keystone_that_hangs(world: WireTokens) -> None:
    tokens = [await world.issue("member") for _ in range(50)]
    for token in tokens:
        await ask(world, token)
    world.clock.at += world.remembered_s + 1
    world.server.fault = 503
    await ask(world, tokens[0])  # finds it out
    world.clock.at += AGAIN_S
    world.server.fault = "hang"
    async with asyncio.timeout(20):  # less than one question takes
        for token in tokens:
            await ask(world, token)


async def test_a_keystone_that_hangs_is_waited_for_no_longer_than_stated(tmp_path: Path) -> None:
    async with wire_tokens(tmp_path, timeout_s=1.0) as world:
        known, unknown = await world.issue("member"), await world.issue("member")
        await ask(world, known)
        world.clock.at += world.remembered_s + 1
        world.server.fault = "hang"
        both = await _ends([asyncio.ensure_future(ask(world, one)) for one in (known, unknown)])
        assert both[0].roles == {"member"}
        assert isinstance(both[1], Unavailable)


async def test_a_token_revoked_while_keystone_was_away_dies_when_it_is_back(
    world: WireTokens,
) -> None:
    token = await world.issue("member")
    await ask(world, token)
    world.server.fault = 503
    world.clock.at += world.remembered_s + 1
    await ask(world, token)
    world.server.tokens[token].revoked = True
    world.server.fault = None
    world.clock.at += AGAIN_S + 0.1

    async def refused() -> bool:
        try:
            await ask(world, token)
        except NotAuthenticated:
            return True
        return False

    assert not await refused()  # it is asked for in the background
    await eventually(refused, within_s=10)


async def test_a_token_of_our_own_that_is_revoked_is_replaced(world: WireTokens) -> None:
    await ask(world, await world.issue("member"))
    assert world.server.logins == 1
    for own in world.server.tokens.values():
        own.revoked = own.may_validate
    assert (await ask(world, await world.issue("reader"))).roles == {"reader"}
    assert world.server.logins == 2
    await ask(world, await world.issue("reader"))
    assert world.server.logins == 2


async def test_a_wrong_password_of_ours_is_not_tried_again_and_again(
    world: WireTokens,
) -> None:
    world.server.passwords[USER] = "another"
    tokens = [await world.issue("member") for _ in range(20)]
    answers = await asyncio.gather(*(ask(world, one) for one in tokens), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert world.server.logins == 1
    world.server.passwords[USER] = PASSWORD
    world.clock.at += REFUSED_S + 1
    await ask(world, tokens[0])


async def test_strangers_take_no_place_of_those_that_are_known(world: WireTokens) -> None:
    token = await world.issue("member")
    await ask(world, token)
    world.clock.at += world.remembered_s + 1
    started, strange = world.server.asked, [f"stranger{n}" for n in range(10 * QUESTIONS_MAX)]
    crowd = [asyncio.ensure_future(ask(world, one)) for one in strange]
    await asyncio.sleep(0)
    await ask(world, token)
    assert world.server.asked - started < len(strange)
    assert all(isinstance(one, NotAuthenticated) for one in await _ends(crowd))


async def _ends(crowd: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*crowd, return_exceptions=True)


async def test_an_application_credential_may_be_whom_the_service_is(tmp_path: Path) -> None:
    async with wire_tokens(tmp_path, application_credential="c1") as world:
        world.server.passwords["c1"] = PASSWORD
        assert (await ask(world, await world.issue("member"))).roles == {"member"}


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    found: list[str] = []
    yield found
    out, err = capfd.readouterr()
    assert found
    assert not [secret for secret in found if secret in out + err]


async def test_no_secret_is_told_or_logged(world: WireTokens, said: list[str]) -> None:
    token = await world.issue("member")
    said += [token, PASSWORD]
    await ask(world, token)
    said += [one for one in world.server.tokens if one not in said]
    world.server.fault = 500
    with pytest.raises(Unavailable) as refused:
        await ask(world, token + "x")
    with pytest.raises(NotAuthenticated) as none:
        await ask(world, "")
    texts = f"{refused.value!r} {refused.value.__cause__!r} {none.value!r} {vars(world.identity)}"
    assert not [secret for secret in said if secret in texts]


@pytest.mark.parametrize(
    ("settings", "lack"),
    [
        ({}, "auth_url"),
        ({"auth_url": "http://k"}, "username"),
        ({"auth_url": "http://k", "username": "u"}, "secret_file"),
        ({"auth_url": "http://k", "username": "u", "secret_file": Path("/nowhere")}, "cannot be"),
    ],
)
def test_what_the_configuration_lacks_is_told_at_the_start(
    tmp_path: Path, settings: dict[str, Any], lack: str
) -> None:
    config = Config(
        state_dir=tmp_path, run_dir=tmp_path, database_url="",
        api=Api(auth="keystone"), keystone=Keystone(**settings),
    )  # fmt: skip
    with pytest.raises(Broken, match=lack):
        check_identity(config)


def test_a_secret_that_anybody_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("x")
    file.chmod(0o644)
    keystone = Keystone(auth_url="http://k", username="u", secret_file=file)
    config = Config(
        state_dir=tmp_path, run_dir=tmp_path, database_url="",
        api=Api(auth="keystone"), keystone=keystone,
    )  # fmt: skip
    with pytest.raises(Broken, match="chmod 600"):
        check_identity(config)

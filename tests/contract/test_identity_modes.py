# SPDX-License-Identifier: Apache-2.0
"""What every kind of token promises, asked of our own and of Keystone's over the wire. The same
is asked of a real Keystone in `tests/openstack/`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from colonnade.api.identity.caller import Caller
from colonnade.domain.errors import NotAuthenticated, Unavailable
from tests.identity_worlds import World, own_tokens, wire_tokens


@pytest.fixture(params=["token", "keystone"])
async def world(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[World]:
    if request.param == "token":
        async with own_tokens(database_url) as own:
            yield own
    else:
        async with wire_tokens(tmp_path) as wire:
            yield wire


async def ask(world: World, token: str, **more: str) -> Caller:
    headers = {name.replace("_", "-").encode(): text.encode() for name, text in more.items()}
    return await world.identity.caller({b"x-auth-token": token.encode(), **headers})


async def is_refused(world: World, token: str) -> bool:
    try:
        await ask(world, token)
    except NotAuthenticated:
        return True
    return False


async def test_a_token_is_its_project_and_roles_whatever_other_headers_say(world: World) -> None:
    reader, member = await world.issue("reader"), await world.issue("member", "reader")
    claims = {"x_roles": "admin", "x_project_id": "other", "x_user_id": "root"}
    found = await ask(world, reader, **claims)
    assert found.project == world.project
    assert found.roles == {"reader"}
    assert found.user not in ("", "root")
    assert (await ask(world, member)).roles == {"member", "reader"}
    as_bearer = await world.identity.caller({b"authorization": f"Bearer {reader}".encode()})
    assert as_bearer == found


async def test_what_is_no_token_is_refused_and_costs_little(world: World) -> None:
    good = await world.issue("member")
    for bad in ("", "admin\xe9", good + "x", "x" * 100_000, good[:-1], "a b", "../tokens?x=1"):
        assert await is_refused(world, bad)
    before = world.questions()
    for _ in range(20):
        assert await is_refused(world, good + "x")
    assert world.questions() == before


async def test_a_busy_token_is_asked_for_seldom(world: World) -> None:
    token = await world.issue("member")
    before = world.questions()
    await asyncio.gather(*(ask(world, token) for _ in range(100)))
    for _ in range(100):
        await ask(world, token)
    assert 1 <= world.questions() - before <= 2


async def test_a_revoked_token_is_dead_within_the_stated_time(world: World) -> None:
    token, other = await world.issue("member"), await world.issue("member")
    await ask(world, token)
    await ask(world, other)
    await world.revoke(token)
    world.clock.at += world.remembered_s + 0.1
    assert await is_refused(world, token)
    assert "member" in (await ask(world, other)).roles


async def test_who_cannot_be_found_out_is_not_let_in_and_may_ask_again(world: World) -> None:
    token = await world.issue("member")
    await world.fall_silent()
    with pytest.raises(Unavailable):
        await ask(world, token)


async def test_a_request_that_is_given_up_leaves_the_others_their_answer(world: World) -> None:
    token = await world.issue("member")
    first = asyncio.ensure_future(ask(world, token))
    second = asyncio.ensure_future(ask(world, token))
    await asyncio.sleep(0)
    first.cancel()
    assert "member" in (await second).roles

# SPDX-License-Identifier: Apache-2.0
"""The promises of mode `keystone`, asked with a real Keystone's tokens."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from colonnade.api.identity.caller import Caller, Identity
from colonnade.api.identity.keystone import KeystoneTokens
from colonnade.api.identity.policy_file import PolicyFile
from colonnade.domain.errors import NotAuthenticated
from colonnade.domain.ids import new_id
from colonnade.drivers.openstack.credentials import Credentials, of_service
from colonnade.drivers.openstack.session import Answer, Session
from colonnade.runtime.config import Keystone
from colonnade.store.postgres.database import Database
from tests.contract.test_identity import asking as application
from tests.contract.test_identity_modes import (  # noqa: F401 - asked of this world too
    test_a_busy_token_is_asked_for_seldom,
    test_a_request_that_is_given_up_leaves_the_others_their_answer,
    test_a_revoked_token_is_dead_within_the_stated_time,
    test_a_token_is_its_project_and_roles_whatever_other_headers_say,
    test_what_is_no_token_is_refused_and_costs_little,
    test_who_cannot_be_found_out_is_not_let_in_and_may_ask_again,
)
from tests.environments import ROOT
from tests.fakes.clock import Time
from tests.identity_worlds import settings_of
from tests.openstack.keystone import DOMAIN, SERVICE_PASSWORD, Administrator, Cloud, log_in, unique

PASSWORD = "sentinel-user-77aa"
ADVANCED = ROOT / "examples/policy/advanced-roles.yaml"


class Counted(Session):
    """How often Keystone was asked."""

    count = 0

    async def ask(self, method: str, url: str, **more: Any) -> Answer:
        self.count += 1
        return await super().ask(method, url, **more)


class RealTokens:
    def __init__(self, cloud: Cloud, administrator: Administrator, settings: Keystone) -> None:
        self.cloud = cloud
        self.administrator = administrator
        self.settings = settings
        self.clock = Time(time.time())
        self.remembered_s = settings.remembered_s
        self.project_name = unique("project")
        self.project = ""
        self.asking(of_service(settings))

    def asking(self, credentials: Credentials) -> None:
        self.session = Counted(credentials, timeout_s=self.settings.timeout_s)
        self.identity: Identity = KeystoneTokens(self.settings, self.session, clock=self.clock)

    async def person(self, *roles: str) -> tuple[str, str]:
        """The name and id of a new user, who has these roles in the project."""
        name = unique("user")
        user = await self.administrator.user(name, PASSWORD)
        self.project = self.project or await self.administrator.project(self.project_name)
        await self.administrator.grant(user, self.project, *roles)
        return name, user

    async def issue(self, *roles: str, seconds: float = 0) -> str:
        name, _ = await self.person(*roles)
        wish = self.cloud.credentials(name, PASSWORD, self.project_name).wish()
        return await log_in(self.cloud, wish)

    async def revoke(self, token: str) -> None:
        await self.administrator.revoke(token)

    def questions(self) -> int:
        return self.session.count

    async def fall_silent(self) -> None:
        await self.identity.close()
        nowhere = msgspec.structs.replace(of_service(self.settings), auth_url="http://127.0.0.1:9")
        self.asking(nowhere)  # where nobody listens


@pytest.fixture
async def world(
    cloud: Cloud, administrator: Administrator, tmp_path: Path
) -> AsyncIterator[RealTokens]:
    settings = settings_of(tmp_path, cloud.url, "lbaas", SERVICE_PASSWORD, timeout_s=30.0)
    settings = msgspec.structs.replace(settings, user_domain="Default")
    made = RealTokens(cloud, administrator, settings)
    try:
        yield made
    finally:
        await made.identity.close()


async def ask(world: RealTokens, token: str, service: str = "") -> Caller:
    headers = {b"x-auth-token": token.encode()}
    return await world.identity.caller(
        headers | ({b"x-service-token": service.encode()} if service else {})
    )


async def test_implied_roles_come_along(world: RealTokens) -> None:
    assert (await ask(world, await world.issue("member"))).roles == {"member", "reader"}
    found = await ask(world, await world.issue("admin"))
    assert found.roles >= {"admin", "manager", "member", "reader"}


async def test_a_role_in_a_domain_or_in_nothing_gives_nothing_and_one_in_the_system_counts(
    world: RealTokens,
) -> None:
    name, user = await world.person("member")
    await world.administrator.grant_in_system(user, "admin")
    await world.administrator.grant_in_domain(user, "admin")
    wish = world.cloud.credentials(name, PASSWORD).wish()["auth"]
    scopes: list[tuple[object, set[str]]] = [
        ({"system": {"all": True}}, {"admin", "manager", "member", "reader"}),
        ({"domain": DOMAIN}, set()),
        ("unscoped", set()),
    ]
    for scope, roles in scopes:
        token = await log_in(world.cloud, {"auth": wish | {"scope": scope}})
        found = await ask(world, token)
        assert (found.project, found.user) == (None, user)
        assert found.roles == roles, scope


async def test_an_application_credential_has_the_roles_that_it_was_given(
    world: RealTokens,
) -> None:
    name, user = await world.person("member", "load-balancer_member")
    own = await log_in(
        world.cloud, world.cloud.credentials(name, PASSWORD, world.project_name).wish()
    )
    rules = [{"service": "load-balancer", "method": "GET", "path": "/v2/lbaas/loadbalancers"}]
    for more, roles in (({}, {"load-balancer_member"}), ({"access_rules": rules}, None)):
        about = {
            "name": unique("c"),
            "secret": "s",
            "roles": [{"name": "load-balancer_member"}],
            **more,
        }
        async with httpx.AsyncClient(headers={"X-Auth-Token": own}) as client:
            answer = await client.post(
                f"{world.cloud.url}/users/{user}/application_credentials",
                json={"application_credential": about},
            )
        made = answer.json()["application_credential"]
        credential = Credentials(auth_url="", secret="s", application_credential=made["id"])
        token = await log_in(world.cloud, credential.wish())
        if roles is None:  # rules are for services that keep them; Keystone vouches to no other
            with pytest.raises(NotAuthenticated):
                await ask(world, token)
        else:
            found = await ask(world, token)
            assert found.project == world.project
            assert found.roles == roles


async def test_a_service_token_is_one_of_a_service(world: RealTokens) -> None:
    user = await world.issue("member")
    service = await log_in(world.cloud, of_service(world.settings).wish())
    assert (await ask(world, user, service)).project == world.project
    for behind in (user, "gAAAAABnonsense"):
        with pytest.raises(NotAuthenticated):
            await ask(world, user, behind)


async def test_a_token_of_our_own_that_is_revoked_is_replaced(world: RealTokens) -> None:
    await ask(world, await world.issue("member"))
    own = await world.session._token(instead_of=None)
    await world.administrator.revoke(own.secret)
    assert (await ask(world, await world.issue("reader"))).roles == {"reader"}


async def test_the_api_answers_as_a_service_of_the_cloud(
    database: Database, world: RealTokens
) -> None:
    token = await world.issue("member")
    async with application(database, identity=world.identity) as client:
        answer = await client.get("/v2/lbaas/loadbalancers")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == f'Keystone uri="{world.cloud.url}"'
        path, headers = "/v2/lbaas/loadbalancers", {"X-Auth-Token": token}
        body = {"loadbalancer": {"vip_subnet_id": new_id()}}
        made = await client.post(path, json=body, headers=headers)
        assert made.json()["loadbalancer"]["project_id"] == world.project
        other = await world.issue("load-balancer_member")
        assert (await client.get(path, headers={"X-Auth-Token": other})).status_code == 403
    policy = PolicyFile(ADVANCED)
    async with application(database, identity=world.identity, policy=policy) as client:
        assert (await client.get(path, headers={"X-Auth-Token": other})).status_code == 200
        assert (await client.get(path, headers=headers)).status_code == 403

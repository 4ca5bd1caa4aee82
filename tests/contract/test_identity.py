# SPDX-License-Identifier: Apache-2.0
"""Who may what, asked of the real application: each rule by each role, projects apart, tokens."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from colonnade.api.app import ROUTES, create_app
from colonnade.api.http.call import Route, Site
from colonnade.api.identity.caller import Identity
from colonnade.api.identity.policy import KNOWN, PREFIX
from colonnade.api.identity.rates import Rates
from colonnade.api.identity.rules import DefaultPolicy, bases
from colonnade.api.identity.tokens import QUESTIONS_MAX, Tokens, digest_of, new_secret
from colonnade.domain.errors import NotAuthenticated
from colonnade.domain.ids import ProjectId, new_id
from colonnade.domain.limits import (
    ALLOWED_CIDRS_MAX,
    MEMBERS_PER_POOL_MAX,
    SECURITY_GROUPS_MAX,
    TAGS_MAX,
)
from colonnade.providers.enabled import enabled_providers
from colonnade.store.postgres.database import Database
from colonnade.store.requests import tokens
from colonnade.store.requests.tokens import Token, TokenId
from tests.contract.api_client import Api, api
from tests.fakes.clock import Time
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

POLICY = {
    "faultcode": "Client",
    "faultstring": "Policy does not allow this request to be performed.",
    "debuginfo": None,
}
ROLES = ("reader", "member", "admin", "service", "stranger")
_PLACE = re.compile(r"\{(\w+):str\}")


def as_caller(role: str, project: str = "mine") -> dict[str, str]:
    return {"X-Project-Id": project, "X-Roles": role, "X-User-Id": "somebody"}


def path_of(route: Route, places: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda found: places.get(found.group(1), str(uuid4())), route.path)


async def test_each_route_lets_in_whom_its_rule_lets_in(api: Api) -> None:
    """Asked for what is not there, so that who gets in finds nothing, and breaks nothing."""
    own = {"project_id": "mine", "provider": "noop"}
    for route in (route for route in ROUTES if route.rule != KNOWN):
        base = bases()[route.rule]
        for role in ROLES:
            answer = await api.client.request(
                route.method, path_of(route, own), headers=as_caller(role), json={}
            )
            refused = answer.status_code == 403
            assert refused == (role not in base.owners | base.anybody), (
                route.method, route.path, route.rule, role, answer.status_code, answer.text,
            )  # fmt: skip
            assert answer.status_code not in (401, 500), answer.text
            if refused:
                assert answer.json() == POLICY


async def _tree(api: Api) -> dict[str, str]:
    """One of each noun, in the project `mine`; by the names that paths have for their ids."""
    headers = as_caller("member")
    api.client.headers.update(headers)
    root = await api.load_balancer()
    listener = await api.listener(root)
    pool = await api.pool(root)
    member, monitor = await api.member(pool), await api.monitor(pool)
    body = {"l7policy": {"listener_id": listener["id"], "action": "REJECT"}}
    policy = (await api.post("l7policies", body))["l7policy"]
    rule = {"rule": {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/a"}}
    l7rule = (await api.post(f"l7policies/{policy['id']}/rules", rule))["rule"]
    for name in headers:
        del api.client.headers[name]
    return {
        "load_balancer_id": root["id"],
        "listener_id": listener["id"],
        "pool_id": pool["id"],
        "member_id": member["id"],
        "health_monitor_id": monitor["id"],
        "l7policy_id": policy["id"],
        "l7rule_id": l7rule["id"],
    }


async def test_an_object_of_another_project_is_refused_and_nothing_is_told(api: Api) -> None:
    ids = await _tree(api)
    about = [
        route
        for route in ROUTES
        if (places := _PLACE.findall(route.path)) and places[0] in ids and route.method != "POST"
    ]
    assert len(about) > 20
    for route in about:
        takes_a_body = route.takes is not None
        if takes_a_body:
            continue  # a body is looked at first, and says nothing of the object
        answer = await api.client.request(
            route.method, path_of(route, ids), headers=as_caller("member", "other")
        )
        assert (answer.status_code, answer.json()) == (403, POLICY), (route.method, route.path)
    for noun, body in (("loadbalancers/{load_balancer_id}", {"loadbalancer": {"name": "a"}}),
                       ("listeners/{listener_id}", {"listener": {"name": "a"}}),
                       ("pools/{pool_id}", {"pool": {"name": "a"}}),
                       ("pools/{pool_id}/members/{member_id}", {"member": {"name": "a"}}),
                       ("healthmonitors/{health_monitor_id}", {"healthmonitor": {"name": "a"}}),
                       ("l7policies/{l7policy_id}", {"l7policy": {"name": "a"}})):  # fmt: skip
        refusal = await api.put(noun.format(**ids), body, 403, headers=as_caller("member", "other"))
        assert refusal == POLICY
        await api.put(noun.format(**ids), body, 403, headers=as_caller("reader"))
        await api.put(noun.format(**ids), body, headers=as_caller("member"))
    root, listener = ids["load_balancer_id"], ids["listener_id"]
    pool, policy = ids["pool_id"], ids["l7policy_id"]
    http = {"protocol": "HTTP", "protocol_port": 81}
    monitor = {"pool_id": pool, "type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2}
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}
    below: list[tuple[str, dict[str, Any]]] = [
        ("listeners", {"listener": http | {"loadbalancer_id": root}}),
        (
            "pools",
            {"pool": {"loadbalancer_id": root, "protocol": "TCP", "lb_algorithm": "SOURCE_IP"}},
        ),
        (f"pools/{pool}/members", {"member": {"address": "10.0.0.9", "protocol_port": 80}}),
        ("healthmonitors", {"healthmonitor": monitor}),
        ("l7policies", {"l7policy": {"listener_id": listener, "action": "REJECT"}}),
        (f"l7policies/{policy}/rules", {"rule": rule}),
    ]
    for path, made in below:
        assert await api.post(path, made, 403, headers=as_caller("member", "other")) == POLICY, path
    await api.get(f"loadbalancers/{root}", headers=as_caller("admin", "other"))


async def test_lists_show_one_project_to_users_and_all_to_operators(api: Api) -> None:
    for project in ("mine", "other"):
        await api.load_balancer(project_id=project)

    async def seen(headers: dict[str, str], query: str = "", status: int = 200) -> set[str]:
        answer = await api.get(f"loadbalancers{query}", status, headers=headers)
        return {lb["project_id"] for lb in answer.get("loadbalancers", ())}

    reader, admin = as_caller("reader"), as_caller("admin")
    assert await seen(reader) == {"mine"}
    assert await seen(reader, "?project_id=mine") == {"mine"}
    await seen(reader, "?project_id=other", 403)
    assert await seen(admin) == {"mine", "other"}
    assert await seen(admin, "?project_id=other") == {"other"}
    assert await seen({}) == {"mine", "other"}  # nobody's, and so the operator's


async def test_what_is_made_belongs_to_the_caller(api: Api) -> None:
    async def made(caller: dict[str, str], status: int = 201, **more: Any) -> Any:
        body = {"vip_subnet_id": str(uuid4()), "provider": "noop"} | more
        return await api.post("loadbalancers", {"loadbalancer": body}, status, headers=caller)

    assert (await made(as_caller("member")))["loadbalancer"]["project_id"] == "mine"
    assert (await made(as_caller("admin")))["loadbalancer"]["project_id"] == "mine"
    theirs = await made(as_caller("admin"), project_id="other")
    assert theirs["loadbalancer"]["project_id"] == "other"
    assert await made(as_caller("member"), 403, project_id="other") == POLICY
    assert await made(as_caller("reader"), 403) == POLICY


class Without(DefaultPolicy):
    """The built-in rules, but that some are nobody's."""

    def __init__(self, *rules: str) -> None:
        self._rules = {PREFIX + rule for rule in rules}

    def allows(self, rule: str, caller: Any, owner: ProjectId | None) -> bool:
        return rule not in self._rules and super().allows(rule, caller, owner)


@asynccontextmanager
async def asking(database: Database, **site: Any) -> AsyncIterator[httpx.AsyncClient]:
    providers = enabled_providers(("noop", "octavia"), default="noop", network=None, noop=True)
    app = create_app(Site(database=database, providers=providers, **site))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client


async def test_an_attribute_may_have_a_rule_of_its_own(database: Database) -> None:
    policy = Without("loadbalancer:post:vip_sg_ids")
    async with asking(database, policy=policy) as client:

        async def status(text: str) -> int:
            path = "/v2/lbaas/loadbalancers"
            return (await client.post(path, content=text, headers=as_caller("member"))).status_code

        subnet = f'"vip_subnet_id": "{uuid4()}"'
        assert await status(f'{{"loadbalancer": {{{subnet}}}}}') == 201
        assert await status(f'{{"loadbalancer": {{{subnet}, "name": "vip_sg_ids"}}}}') == 201
        assert await status(f'{{"loadbalancer": {{{subnet}, "vip_sg_ids": []}}}}') == 403
        spelled = '"vip\\u005fsg_ids": []'
        assert await status(f'{{"loadbalancer": {{{subnet}, {spelled}}}}}') == 403
        assert await status('{"loadbalancer": ["vip_sg_ids"]}') == 400
        assert await status("vip_sg_ids") == 400


async def test_a_batch_of_members_needs_the_rules_of_all_that_it_does(
    database: Database, api: Api
) -> None:
    pool = await api.pool(await api.load_balancer(project_id="mine"))
    path = f"/v2/lbaas/pools/{pool['id']}/members"
    rows = (
        ("member:post", "", 403), ("member:post", "?additive_only=true", 403),
        ("member:put", "", 403), ("member:delete", "", 403),
        ("member:delete", "?additive_only=true", 202), ("member:get_one", "", 202),
    )  # fmt: skip
    for rule, query, status in rows:
        async with asking(database, policy=Without(rule)) as client:
            answer = await client.put(
                path + query, json={"members": []}, headers=as_caller("member")
            )
            assert answer.status_code == status, (rule, query, answer.text)


async def test_a_project_that_asks_too_much_is_told_when_to_ask_again(database: Database) -> None:
    async with asking(database, rates=Rates(0.5, burst=3)) as client:

        async def ask(project: str) -> httpx.Response:
            return await client.get("/v2/lbaas/pools", headers=as_caller("reader", project))

        assert [(await ask("mine")).status_code for _ in range(5)] == [200] * 3 + [429] * 2
        refusal = await ask("mine")
        assert refusal.headers["retry-after"] == "2"
        assert refusal.json()["faultcode"] == "Client"
        assert "x-openstack-request-id" in refusal.headers
        assert (await ask("other")).status_code == 200


LONG = "x" * 37
HEADERS: list[tuple[dict[str, str], int]] = [
    ({}, 200),
    ({"X-Project-Id": "a"}, 200),
    ({"X-Project-Id": LONG}, 400),
    ({"X-Roles": "admin"}, 200),
    ({"X-Roles": "Admin , x"}, 200),
    ({"X-Roles": "member"}, 403),  # of no project
    ({"X-Project-Id": "a", "X-Roles": ", ,"}, 200),
    ({"X-Project-Id": "a", "X-Roles": "stranger"}, 403),
]


async def test_without_identity_headers_are_believed(api: Api) -> None:
    for headers, status in HEADERS:
        await api.get("pools", status, headers=headers)


DEEP = 100_000
BODIES = [
    b'{"loadbalancer":' + b"[" * DEEP + b"]" * DEEP + b"}",
    b'{"loadbalancer":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    b"[" * DEEP,
    b'{"loadbalancer":{"tags":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    b'{"loadbalancer":{"listeners":[' + b'{"default_pool":' * DEEP + b"}" * DEEP + b"]}}",
]


@pytest.mark.parametrize("number", range(len(BODIES)))
async def test_a_deep_body_is_refused_with_words(api: Api, number: int) -> None:
    answer = await api.ask("POST", "/v2/lbaas/loadbalancers", 400, content=BODIES[number])
    assert answer["faultcode"] == "Client"
    assert "nested too deeply" in answer["faultstring"]


async def test_lists_have_limits(api: Api) -> None:
    def roots(**attributes: Any) -> tuple[str, Any]:
        return "loadbalancers", {"loadbalancer": {"vip_subnet_id": PRIVATE_SUBNET} | attributes}

    def listeners(**attributes: Any) -> tuple[str, Any]:
        body = {"loadbalancer_id": root["id"], "protocol": "HTTP", "protocol_port": 80}
        return "listeners", {"listener": body | attributes}

    root = await api.load_balancer()
    vip = {"subnet_id": str(uuid4())}
    cidrs = [f"10.{n // 250}.{n % 250}.0/24" for n in range(ALLOWED_CIDRS_MAX + 1)]
    groups = [str(uuid4()) for _ in range(SECURITY_GROUPS_MAX + 1)]
    member = {"address": "10.0.0.1"}
    rows = (
        (roots(provider="noop", tags=["a"] * (TAGS_MAX + 1)), "tags"),
        (roots(provider="noop", vip_sg_ids=groups), "vip_sg_ids"),
        (roots(provider="noop", additional_vips=[vip] * 11), "additional_vips"),
        (listeners(allowed_cidrs=cidrs), "allowed_cidrs"),
    )
    for (path, body), field in rows:
        answer = await api.post(path, body, 400)
        assert field in answer["faultstring"], answer
    pool = await api.pool(root)
    members = [member | {"protocol_port": port} for port in range(1, MEMBERS_PER_POOL_MAX + 2)]
    answer = await api.put(f"pools/{pool['id']}/members", {"members": members}, 400)
    assert "members" in answer["faultstring"]


async def test_a_query_has_only_so_many_words(api: Api) -> None:
    await api.get("pools?" + "&".join(["name=a"] * 1000))
    await api.get("pools?" + "&".join(["name=a"] * 1001), 400)


async def made_token(
    database: Database, *roles: str, project: str = "mine", days: float | None = None
) -> tuple[str, str]:
    """Its secret and its id."""
    secret = new_secret()
    token = Token(id=TokenId(new_id()), project_id=ProjectId(project), roles=roles)
    async with database.read() as connection:
        await tokens.add(connection, token, digest_of(secret), days=days)
    return secret, token.id


async def test_a_token_speaks_for_its_project_and_role(database: Database) -> None:
    identity: Identity = Tokens(database)
    async with asking(database, identity=identity) as client:
        rows = (
            ("member", "GET", "pools", 200), ("reader", "GET", "pools", 200),
            ("reader", "POST", "pools", 403), ("member", "POST", "pools", 400),
            ("member", "GET", "flavorprofiles", 403), ("admin", "GET", "flavorprofiles", 200),
            ("stranger", "GET", "pools", 403),
        )  # fmt: skip
        for role, method, path, status in rows:
            secret, _ = await made_token(database, role)
            # Whoever has a token is whom it names, whatever the other headers say.
            claims = {"X-Auth-Token": secret, "X-Roles": "admin", "X-Project-Id": "other"}
            answer = await client.request(method, f"/v2/lbaas/{path}", headers=claims, json={})
            assert answer.status_code == status, (role, method, path, answer.text)
        secret, _ = await made_token(database, "member")
        body = {"loadbalancer": {"vip_subnet_id": str(uuid4())}}
        made = await client.post(
            "/v2/lbaas/loadbalancers", json=body, headers={"X-Auth-Token": secret}
        )
        assert made.json()["loadbalancer"]["project_id"] == "mine"


UNAUTHENTICATED = {
    "error": {
        "code": 401,
        "title": "Unauthorized",
        "message": "The request you have made requires authentication.",
    }
}


async def test_a_token_may_come_as_a_bearers(database: Database) -> None:
    """Prometheus can send no header of its own. X-Auth-Token is believed where both are said."""
    reader, _ = await made_token(database, "reader")
    paths = ("/v2/lbaas/metrics", "/v2/lbaas/pools", "/v2.0/lbaas/loadbalancers")
    async with asking(database, identity=Tokens(database)) as client:
        for path in paths:
            for headers, status in (
                ({"Authorization": f"Bearer {reader}"}, 200),
                ({"Authorization": f"bearer  {reader} "}, 200),
                ({"Authorization": f"Basic {reader}"}, 401),
                ({"Authorization": f"Bearer {new_secret()}", "X-Auth-Token": reader}, 200),
                ({"Authorization": f"Bearer {reader}", "X-Auth-Token": new_secret()}, 401),
            ):
                answer = await client.get(path, headers=headers)
                assert answer.status_code == status, (path, headers)


async def test_without_a_good_token_there_is_nothing_to_see(database: Database) -> None:
    expired, _ = await made_token(database, "admin", days=0)
    bad: list[dict[str, str]] = [
        {}, {"X-Auth-Token": ""}, {"X-Auth-Token": "admin"}, {"X-Auth-Token": new_secret()},
        {"X-Auth-Token": expired}, {"X-Roles": "admin", "X-Project-Id": "mine"},
        {"X-Auth-Token": "x" * 100_000}, {"Authorization": f"Bearer {expired}"},
        {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"},
    ]  # fmt: skip
    async with asking(database, identity=Tokens(database)) as client:
        for headers in bad:
            for method, path in (
                ("GET", "/v2/lbaas/pools"), ("GET", "/v2"), ("GET", "/nowhere"),
                ("POST", "/v2.0/lbaas/loadbalancers"), ("PATCH", "/v2/lbaas/pools"),
            ):  # fmt: skip
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 401, (headers, method, path)
                assert answer.json() == UNAUTHENTICATED
                assert "www-authenticate" in answer.headers
                assert "x-openstack-request-id" in answer.headers
            for path in ("/", "/healthcheck", "/load-balancer/", "/load-balancer/healthcheck"):
                assert (await client.get(path, headers=headers)).status_code == 200, path
        secret, _ = await made_token(database, "reader")
        for path, status in (("/nowhere", 404), ("/v2", 200)):
            answer = await client.get(path, headers={"X-Auth-Token": secret})
            assert answer.status_code == status


class Counted(Database):
    """How often a connection was asked for."""

    count = 0

    def read(self, *, answer_s: float = 0) -> Any:
        self.count += 1
        return super().read()


async def test_a_token_costs_a_query_every_few_seconds_and_dies_soon(database_url: str) -> None:
    database, clock = await Counted.connect(database_url), Time()
    try:
        secret, token_id = await made_token(database, "member")
        identity = Tokens(database, remembered_s=5.0, clock=clock)
        headers = {b"x-auth-token": secret.encode()}
        database.count = 0
        await asyncio.gather(*(identity.caller(headers) for _ in range(100)))
        assert 1 <= database.count <= QUESTIONS_MAX
        database.count = 0
        async with database.read() as connection:
            assert await tokens.revoke(connection, token_id)
            assert not await tokens.revoke(connection, token_id)
        clock.at += 4.9
        assert (await identity.caller(headers)).project == "mine"
        clock.at += 0.2
        for _ in range(100):
            with pytest.raises(NotAuthenticated):
                await identity.caller(headers)
        assert database.count == 2  # that of the revocation, and one for all of these
        with pytest.raises(NotAuthenticated):
            await identity.caller({b"x-auth-token": b"no token of ours"})
        assert database.count == 2
    finally:
        await database.close()


async def test_a_token_that_expires_is_not_remembered_beyond_that(database: Database) -> None:
    clock = Time()
    secret, _ = await made_token(database, "member", days=0.3 / 86400)
    identity = Tokens(database, remembered_s=1000.0, clock=clock)
    headers = {b"x-auth-token": secret.encode()}
    assert (await identity.caller(headers)).roles == {"member"}
    clock.at += 0.4

    async def refused() -> bool:
        try:
            await identity.caller(headers)
        except NotAuthenticated:
            return True
        return False

    async with asyncio.timeout(5):
        while not await refused():  # the database's own clock has to get there too
            clock.at += 0.4
            await asyncio.sleep(0.05)


async def test_without_a_database_nobody_is_turned_away_for_good(database_url: str) -> None:
    database = await Database.connect(database_url)
    secret, _ = await made_token(database, "member")
    await database.close()
    async with asking(database, identity=Tokens(database)) as client:
        answer = await client.get("/v2/lbaas/pools", headers={"X-Auth-Token": secret})
    assert answer.status_code == 503
    assert answer.json()["faultcode"] == "Server"
    assert answer.headers["retry-after"] == "1"


async def test_the_store_has_no_secret(database: Database) -> None:
    secret, _ = await made_token(database, "member")
    async with database.read() as connection:
        cursor = await connection.execute("SELECT t::text FROM tokens t")
        rows = [row[0] for row in await cursor.fetchall()]
    assert len(rows) == 1
    assert secret not in rows[0]
    assert secret.removeprefix("col_") not in rows[0]
    assert secret.encode().hex() not in rows[0]

# SPDX-License-Identifier: Apache-2.0
"""Each route names the rule that decides who may; the rules' table and what it decides."""

import re

import pytest

from colonnade.api.app import ROUTES
from colonnade.api.http import documents
from colonnade.api.http.call import Route
from colonnade.api.identity.caller import Caller
from colonnade.api.identity.policy import KNOWN, NOBODYS, PREFIX, PUBLIC, scope
from colonnade.api.identity.rules import DefaultPolicy, bases
from colonnade.domain.errors import Forbidden
from colonnade.domain.ids import ProjectId

TABLE = [*ROUTES, *documents.routes(ROUTES)]
# Without a token, by the wire contract: the versions and the health; the rest are documents.
PUBLIC_PATHS = {"/", "/healthcheck", "/openapi.json", "/docs"}
MINE, OTHER = ProjectId("mine"), ProjectId("other")


def of(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", TABLE, ids=of)
def test_each_route_has_a_rule_that_is_known(route: Route) -> None:
    known = set(bases())
    assert route.rule in known | {PUBLIC, KNOWN}, f"{of(route)} has the rule {route.rule!r}"
    assert set(route.more_rules) <= known
    assert {f"{route.rule}:{name}" for name in route.guarded} <= known


def test_what_needs_no_token_is_listed() -> None:
    assert {route.path for route in TABLE if route.rule == PUBLIC} == PUBLIC_PATHS
    about_nothing = {"/v2", "/projects/{project_id:str}"}
    assert {route.path for route in TABLE if route.rule == KNOWN} <= about_nothing


def test_actions_are_named_after_their_methods() -> None:
    for route in (route for route in ROUTES if route.rule != KNOWN):
        action = route.rule.rpartition(":")[2]
        if not re.search(r"\}$|s$", route.path) or action == "post":
            continue  # a word after an object has an action of its own
        assert action.startswith(route.method.lower()), of(route)


# The wire contract's table: base rule, who may in the own project, who may in any.
WHO = [
    ("loadbalancer:get_one", {"reader", "member", "admin"}, {"admin"}),
    ("loadbalancer:get_all", {"reader", "member", "admin"}, {"admin"}),
    ("loadbalancer:get_all-global", {"admin"}, {"admin"}),
    ("loadbalancer:post", {"member", "admin"}, {"admin"}),
    ("loadbalancer:post:vip_sg_ids", {"member", "admin"}, {"admin"}),
    ("loadbalancer:put_failover", {"admin"}, {"admin"}),
    ("member:get_all", {"reader", "member", "admin", "service"}, {"admin", "service"}),
    ("member:get_one", {"reader", "member", "admin"}, {"admin"}),
    ("l7rule:delete", {"member", "admin"}, {"admin"}),
    ("quota:get_one", {"reader", "member", "admin"}, {"admin"}),
    ("quota:get_all-global", {"admin"}, {"admin"}),
    ("quota:put", {"admin"}, {"admin"}),
    ("provider:get_all", {"reader", "member", "admin"}, {"admin"}),
    ("provider-flavor:get_all", {"admin"}, {"admin"}),
    ("flavor:get_all", {"reader", "member", "admin"}, {"admin"}),
    ("flavor:post", {"admin"}, {"admin"}),
    ("flavor-profile:get_one", {"admin"}, {"admin"}),
    ("availability-zone:put", {"admin"}, {"admin"}),
    ("amphora:get_all", {"admin"}, {"admin"}),
    ("nothing:that-is-known", {"admin"}, {"admin"}),
]
ROLES = {"reader", "member", "admin", "service", "stranger"}


@pytest.mark.parametrize(("rule", "owners", "anybody"), WHO)
def test_who_may(rule: str, owners: set[str], anybody: set[str]) -> None:
    policy = DefaultPolicy()

    def allowed(owner: ProjectId | None) -> set[str]:
        return {
            role
            for role in ROLES
            if policy.allows(PREFIX + rule, Caller(project=MINE, roles=frozenset({role})), owner)
        }

    assert allowed(MINE) == owners
    assert allowed(OTHER) == anybody
    assert allowed(None) == anybody


def test_a_scope_is_all_projects_or_the_own_or_nothing() -> None:
    policy = DefaultPolicy()
    read, write = PREFIX + "pool:get_all", PREFIX + "pool:put"

    def of_role(role: str, *rules: str, project: ProjectId | None = MINE) -> ProjectId | None:
        return scope(policy, rules, Caller(project=project, roles=frozenset({role})))

    assert of_role("admin", read) is None
    assert of_role("admin", read, write, project=None) is None
    assert of_role("member", read, write) == MINE
    assert of_role("reader", read) == MINE
    assert of_role("admin", PUBLIC, KNOWN) == NOBODYS
    assert of_role("reader", KNOWN, read) == MINE
    with pytest.raises(Forbidden):
        of_role("reader", read, write)
    with pytest.raises(Forbidden):
        of_role("member", read, project=None)
    with pytest.raises(Forbidden):
        of_role("stranger", read)


def test_of_several_rules_the_narrowest_decides() -> None:
    service = Caller(project=MINE, roles=frozenset({"service", "reader"}))
    members, one = PREFIX + "member:get_all", PREFIX + "member:get_one"
    assert scope(DefaultPolicy(), [members], service) is None
    assert scope(DefaultPolicy(), [members, one], service) == MINE
    assert scope(DefaultPolicy(), [one, members], service) == MINE

# SPDX-License-Identifier: Apache-2.0
"""oslo.policy files: what they override, what they leave, and the one for the older roles."""

from pathlib import Path

import pytest

from colonnade.api.identity.caller import Caller
from colonnade.api.identity.policy import PREFIX, scope
from colonnade.api.identity.policy_file import PolicyFile
from colonnade.api.identity.rules import DefaultPolicy, bases
from colonnade.domain.errors import Broken, Forbidden
from colonnade.domain.ids import ProjectId

MINE, OTHER = ProjectId("mine"), ProjectId("other")
ADVANCED = Path(__file__).parents[2] / "examples/policy/advanced-roles.yaml"


def caller(*roles: str, project: ProjectId | None = MINE, user: str = "") -> Caller:
    return Caller(project=project, roles=frozenset(roles), user=user)


def written(folder: Path, text: str) -> PolicyFile:
    file = folder / "policy.yaml"
    file.write_text(text)
    return PolicyFile(file)


def test_an_empty_file_says_what_is_built_in(tmp_path: Path) -> None:
    theirs, ours = written(tmp_path, ""), DefaultPolicy()
    callers = [caller(role) for role in ("reader", "member", "admin", "service", "stranger")]
    callers += [caller("member", "admin"), caller("admin", project=None), caller()]
    for rule in [*bases(), PREFIX + "nothing:at-all"]:
        assert theirs.has(rule) == ours.has(rule)
        for who in callers:
            for owner in (MINE, OTHER, None):
                assert theirs.allows(rule, who, owner) == ours.allows(rule, who, owner), (
                    rule, who, owner,
                )  # fmt: skip


def test_a_rule_is_overridden_and_the_others_stay(tmp_path: Path) -> None:
    policy = written(
        tmp_path,
        f'"{PREFIX}flavor:post": "role:cook"\n'
        f'"{PREFIX}pool:delete": "!"\n'
        f'"{PREFIX}pool:get_one": "@"\n'
        f'"{PREFIX}pool:put": "role:member and not role:intern and project_id:%(project_id)s"\n',
    )
    flavor, put = PREFIX + "flavor:post", PREFIX + "pool:put"
    assert policy.allows(flavor, caller("cook"), None)
    assert not policy.allows(flavor, caller("admin"), None)
    assert not policy.allows(PREFIX + "pool:delete", caller("admin"), MINE)
    assert policy.allows(PREFIX + "pool:get_one", caller(), OTHER)
    assert policy.allows(put, caller("member"), MINE)
    assert not policy.allows(put, caller("member"), OTHER)
    assert not policy.allows(put, caller("member", "intern"), MINE)
    assert policy.allows(PREFIX + "pool:post", caller("member"), MINE)


def test_a_base_rule_moves_all_that_rest_on_it(tmp_path: Path) -> None:
    policy = written(tmp_path, '"load-balancer:read": "role:auditor"\n')
    assert policy.allows(PREFIX + "listener:get_one", caller("auditor"), OTHER)
    assert not policy.allows(PREFIX + "listener:get_one", caller("member"), MINE)
    assert not policy.allows(PREFIX + "listener:get_all-global", caller("auditor"), None)
    assert scope(policy, [PREFIX + "listener:get_all"], caller("auditor")) == MINE


BROKEN = [
    ("a: [b\n", "cannot be read"),
    ("- a\n", "a name and a text"),
    ('"load-balancer:read": 5\n', "a name and a text"),
    (f'"{PREFIX}flavor:post": "role:admin orr role"\n', "cannot read the rule"),
    (f'"{PREFIX}flavor:post": "rule:nowhere"\n', "not well defined"),
    ('"load-balancer:read": "rule:load-balancer:read"\n', "not well defined"),
]


@pytest.mark.parametrize(("text", "reason"), BROKEN)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(Broken, match=reason):
        written(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="is not there"):
        PolicyFile(tmp_path / "policy.yaml")


OBSERVER, GLOBAL = "load-balancer_observer", "load-balancer_global_observer"
WRITER, QUOTAS, LB_ADMIN = (
    "load-balancer_member",
    "load-balancer_quota_admin",
    "load-balancer_admin",
)
EVERYBODY = (OBSERVER, GLOBAL, WRITER, QUOTAS, LB_ADMIN, "admin", "member", "reader", "service")
# Rule; who may with what is their own project's; who may with another's.
ADVANCED_ROLES = [
    ("loadbalancer:get_one", {OBSERVER, GLOBAL, WRITER, LB_ADMIN, "admin"},
     {GLOBAL, LB_ADMIN, "admin"}),
    ("loadbalancer:get_all-global", {GLOBAL, LB_ADMIN, "admin"}, {GLOBAL, LB_ADMIN, "admin"}),
    ("loadbalancer:post", {WRITER, LB_ADMIN, "admin"}, {LB_ADMIN, "admin"}),
    ("loadbalancer:put_failover", {LB_ADMIN, "admin"}, {LB_ADMIN, "admin"}),
    ("member:get_all", {OBSERVER, GLOBAL, WRITER, LB_ADMIN, "admin", "service"},
     {GLOBAL, LB_ADMIN, "admin", "service"}),
    ("quota:get_one", {OBSERVER, GLOBAL, WRITER, QUOTAS, LB_ADMIN, "admin"},
     {GLOBAL, QUOTAS, LB_ADMIN, "admin"}),
    ("quota:get_all-global", {GLOBAL, QUOTAS, LB_ADMIN, "admin"},
     {GLOBAL, QUOTAS, LB_ADMIN, "admin"}),
    ("quota:put", {QUOTAS, LB_ADMIN, "admin"}, {QUOTAS, LB_ADMIN, "admin"}),
    ("flavor:get_all", {OBSERVER, GLOBAL, WRITER, LB_ADMIN, "admin"},
     {GLOBAL, LB_ADMIN, "admin"}),
    ("flavor:post", {LB_ADMIN, "admin"}, {LB_ADMIN, "admin"}),
    ("amphora:get_all", {LB_ADMIN, "admin"}, {LB_ADMIN, "admin"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def advanced() -> PolicyFile:
    return PolicyFile(ADVANCED)


@pytest.mark.parametrize(("rule", "own", "others"), ADVANCED_ROLES)
def test_the_older_roles_still_have_a_file(
    advanced: PolicyFile, rule: str, own: set[str], others: set[str]
) -> None:
    name = PREFIX + rule
    assert {r for r in EVERYBODY if advanced.allows(name, caller(r), MINE)} == own
    assert {r for r in EVERYBODY if advanced.allows(name, caller(r), OTHER)} == others


def test_with_the_older_roles_a_global_observer_sees_all_and_writes_nothing(
    advanced: PolicyFile,
) -> None:
    who = caller(GLOBAL)
    assert scope(advanced, [PREFIX + "loadbalancer:get_all"], who) is None
    with pytest.raises(Forbidden):
        scope(advanced, [PREFIX + "loadbalancer:post"], who)

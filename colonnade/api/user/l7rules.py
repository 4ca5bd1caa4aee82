# SPDX-License-Identifier: Apache-2.0
"""L7 rules, as the user API sees them: the conditions of a policy, all of which must hold."""

from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import changed, given
from colonnade.api.resources import pages
from colonnade.api.resources.bodies import L7RuleCreate, L7RuleUpdate
from colonnade.api.resources.objects import L7RuleObject, listed, wrapped
from colonnade.domain.ids import L7PolicyId, L7RuleId, new_id
from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.tables import L7POLICIES, L7RULES


async def create_l7rule(call: Call) -> JSON:
    body = call.body(L7RuleCreate, "rule")
    policy_id = L7PolicyId(call.id("l7policy_id"))
    rule = read_rule(body)
    async with call.editing(L7POLICIES, policy_id) as edit:
        policy = _policy(edit.tree, policy_id)
        edit.tree = _with_policy(edit.tree, policy.with_rule(rule))
    return pages.added(call, edit, L7RULES, rule.id, "rule")


async def list_l7rules(call: Call) -> JSON:
    policy_id = call.id("l7policy_id")
    await call.record(L7POLICIES, policy_id)
    return await pages.page(call, L7RULES, "rules", within={"l7policy_id": policy_id})


async def show_l7rule(call: Call) -> JSON:
    policy_id, rule_id = call.id("l7policy_id"), call.id("l7rule_id")
    await call.record(L7POLICIES, policy_id)
    return await pages.one(call, L7RULES, rule_id, "rule", parent_id=policy_id)


async def update_l7rule(call: Call) -> JSON:
    body = call.body(L7RuleUpdate, "rule")
    policy_id, rule_id = L7PolicyId(call.id("l7policy_id")), L7RuleId(call.id("l7rule_id"))
    async with call.editing(L7POLICIES, policy_id) as edit:
        policy = _policy(edit.tree, policy_id)
        rule = replace(policy.rule(rule_id), **changed(body, L7Rule))
        edit.tree = _with_policy(edit.tree, policy.with_rule(rule))
    return await pages.one(call, L7RULES, rule_id, "rule")


async def delete_l7rule(call: Call) -> JSON:
    policy_id, rule_id = L7PolicyId(call.id("l7policy_id")), L7RuleId(call.id("l7rule_id"))
    async with call.editing(L7POLICIES, policy_id) as edit:
        policy = _policy(edit.tree, policy_id)
        edit.tree = _with_policy(edit.tree, policy.without_rule(rule_id))


def read_rule(body: L7RuleCreate) -> L7Rule:
    return L7Rule(id=L7RuleId(new_id()), **given(body, L7Rule))


def _policy(tree: LoadBalancer, policy_id: L7PolicyId) -> L7Policy:
    return tree.listener_of(policy_id).policy(policy_id)


def _with_policy(tree: LoadBalancer, policy: L7Policy) -> LoadBalancer:
    return tree.with_listener(tree.listener_of(policy.id).with_policy(policy))


RULES_PATH = "/v2/lbaas/l7policies/{l7policy_id:str}/rules"
RULE_PATH = RULES_PATH + "/{l7rule_id:str}"
ROUTES = [
    Route(
        method="GET",
        path=RULES_PATH,
        handler=list_l7rules,
        answers=listed("rules", L7RuleObject),
        rule="os_load-balancer_api:l7rule:get_all",
        summary="List the rules of a policy",
    ),
    Route(
        method="POST",
        path=RULES_PATH,
        handler=create_l7rule,
        answers=wrapped("rule", L7RuleObject),
        example={"type": "PATH", "compare_type": "STARTS_WITH", "value": "/api"},
        takes=L7RuleCreate,
        wrapper="rule",
        success=201,
        rule="os_load-balancer_api:l7rule:post",
        summary="Add a condition to a policy",
    ),
    Route(
        method="GET",
        path=RULE_PATH,
        handler=show_l7rule,
        answers=wrapped("rule", L7RuleObject),
        rule="os_load-balancer_api:l7rule:get_one",
        summary="Show a rule",
    ),
    Route(
        method="PUT",
        path=RULE_PATH,
        handler=update_l7rule,
        example={"invert": True},
        answers=wrapped("rule", L7RuleObject),
        takes=L7RuleUpdate,
        wrapper="rule",
        rule="os_load-balancer_api:l7rule:put",
        summary="Change a rule",
    ),
    Route(
        method="DELETE",
        path=RULE_PATH,
        handler=delete_l7rule,
        success=204,
        rule="os_load-balancer_api:l7rule:delete",
        summary="Remove a condition",
    ),
]

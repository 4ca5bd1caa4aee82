# SPDX-License-Identifier: Apache-2.0
"""L7 rules, as the user API sees them: the conditions of a policy, all of which must hold."""

from typing import Final

from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call
from colonnade.api.http.decoding import Body, changed, given
from colonnade.api.resources import pages
from colonnade.api.resources.bodies import L7RuleCreate, L7RuleUpdate
from colonnade.api.resources.objects import L7RuleObject
from colonnade.api.resources.resource import Act, Wire, resource
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


def read_rule(body: Body) -> L7Rule:
    return L7Rule(id=L7RuleId(new_id()), **given(body, L7Rule))


def _policy(tree: LoadBalancer, policy_id: L7PolicyId) -> L7Policy:
    return tree.listener_of(policy_id).policy(policy_id)


def _with_policy(tree: LoadBalancer, policy: L7Policy) -> LoadBalancer:
    return tree.with_listener(tree.listener_of(policy.id).with_policy(policy))


_WIRE: Final = Wire(
    steps="l7policies/{l7policy_id:str}/rules",
    place="l7rule_id",
    one="rule",
    many="rules",
    rule="l7rule",
    object=L7RuleObject,
)
ROUTES = resource(
    _WIRE,
    list=Act(handler=list_l7rules, summary="List the rules of an L7 policy"),
    create=Act(
        handler=create_l7rule,
        takes=L7RuleCreate,
        example={"type": "PATH", "compare_type": "STARTS_WITH", "value": "/api"},
        summary="Add a rule to an L7 policy",
    ),
    show=Act(handler=show_l7rule, summary="Show a rule"),
    update=Act(
        handler=update_l7rule,
        takes=L7RuleUpdate,
        example={"invert": True},
        summary="Change a rule",
    ),
    delete=Act(handler=delete_l7rule, summary="Remove a rule from an L7 policy"),
)

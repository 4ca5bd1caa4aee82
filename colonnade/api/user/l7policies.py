# SPDX-License-Identifier: Apache-2.0
"""L7 policies, as the user API sees them: what a listener does with requests that match.

The action may be left out on a change when the attribute that belongs to it says which it is;
the attributes of other actions are then cleared.
"""

from typing import Any, Final

from msgspec.structs import replace

from colonnade.api.http.call import JSON, Call
from colonnade.api.http.decoding import Body, changed, given, set_fields
from colonnade.api.resources import pages
from colonnade.api.resources.bodies import L7PolicyCreate, L7PolicyUpdate
from colonnade.api.resources.objects import SAMPLE_ID, L7PolicyObject
from colonnade.api.resources.resource import Act, Wire, resource
from colonnade.api.user.l7rules import read_rule
from colonnade.domain.errors import Conflict
from colonnade.domain.ids import L7PolicyId, ListenerId, PoolId, new_id
from colonnade.domain.l7 import ACTION_FIELDS, ACTIONS, REDIRECT_CODE, URL_ACTIONS, L7Policy
from colonnade.domain.limits import POSITION_MAX, RULES_PER_POLICY_MAX
from colonnade.domain.vocabulary import L7Action
from colonnade.store.rows.tables import L7POLICIES, LISTENERS

ACTION_OF: Final = {field: action for action, fields in ACTIONS.items() for field in fields}


async def create_l7policy(call: Call) -> JSON:
    body = call.body(L7PolicyCreate, "l7policy")
    listener_id = ListenerId(str(body.said("listener_id")))
    policy = read_policy(body)
    async with call.editing(LISTENERS, listener_id) as edit:
        listener = edit.tree.listener(listener_id).with_policy(policy)
        edit.tree = edit.tree.with_listener(listener)
    return pages.added(call, edit, L7POLICIES, policy.id, "l7policy")


async def list_l7policies(call: Call) -> JSON:
    return await pages.page(call, L7POLICIES, "l7policies")


async def show_l7policy(call: Call) -> JSON:
    return await pages.one(call, L7POLICIES, call.id("l7policy_id"), "l7policy")


async def update_l7policy(call: Call) -> JSON:
    body = call.body(L7PolicyUpdate, "l7policy")
    policy_id = L7PolicyId(call.id("l7policy_id"))
    async with call.editing(L7POLICIES, policy_id) as edit:
        listener = edit.tree.listener_of(policy_id)
        policy = _change(listener.policy(policy_id), body)
        edit.tree = edit.tree.with_listener(listener.with_policy(policy))
    return await pages.one(call, L7POLICIES, policy_id, "l7policy")


async def delete_l7policy(call: Call) -> JSON:
    policy_id = L7PolicyId(call.id("l7policy_id"))
    async with call.editing(L7POLICIES, policy_id) as edit:
        listener = edit.tree.listener_of(policy_id)
        edit.tree = edit.tree.with_listener(listener.without_policy(policy_id))


def read_policy(body: Body, redirect_pool_id: PoolId | None = None) -> L7Policy:
    """`redirect_pool_id`: the pool that came along with the policy."""
    policy_id = L7PolicyId(new_id())
    if len(body.each("rules")) > RULES_PER_POLICY_MAX:
        raise Conflict(f"Too many rules on L7 policy {policy_id}")
    fields = given(body, L7Policy)
    fields["rules"] = tuple(read_rule(rule) for rule in body.each("rules"))
    if redirect_pool_id is not None:
        fields["redirect_pool_id"] = redirect_pool_id
    return L7Policy(id=policy_id, **_for_action(fields, fields["action"]))


def _change(policy: L7Policy, body: Body) -> L7Policy:
    fields = changed(body, L7Policy)
    if fields.get("action") is None:
        named = [ACTION_OF[name] for name in ACTION_FIELDS if fields.get(name)]
        fields["action"] = named[0] if named else policy.action
    if set_fields(body).get("position", 1) is None:
        fields["position"] = POSITION_MAX
    action = fields["action"]
    if action is not policy.action:
        # Attributes of the action that was, unless the request gives them itself.
        fields = {name: _empty(policy, name) for name in ACTION_FIELDS} | fields
        fields.setdefault("redirect_http_code", None)
    elif fields.get("redirect_pool_id"):
        fields.setdefault("redirect_pools", ())
    elif fields.get("redirect_pools"):
        fields.setdefault("redirect_pool_id", None)
    if action in URL_ACTIONS and "redirect_http_code" not in fields:
        fields["redirect_http_code"] = policy.redirect_http_code
    return replace(policy, **_for_action(fields, action))


def _for_action(fields: dict[str, Any], action: L7Action) -> dict[str, Any]:
    """Without what belongs to other actions, and with the code of a redirection."""
    kept = {
        name: value
        for name, value in fields.items()
        if name not in ACTION_FIELDS or name in ACTIONS[action] or not value
    }
    code = kept.pop("redirect_http_code", None)
    kept["redirect_http_code"] = (code or REDIRECT_CODE) if action in URL_ACTIONS else None
    return kept


def _empty(policy: L7Policy, name: str) -> Any:
    return () if isinstance(getattr(policy, name), tuple) else None


_WIRE: Final = Wire(
    steps="l7policies",
    place="l7policy_id",
    one="l7policy",
    many="l7policies",
    rule="l7policy",
    object=L7PolicyObject,
)
ROUTES = resource(
    _WIRE,
    list=Act(handler=list_l7policies, summary="List L7 policies"),
    create=Act(
        handler=create_l7policy,
        takes=L7PolicyCreate,
        example={
            "listener_id": SAMPLE_ID,
            "action": "REDIRECT_TO_URL",
            "redirect_url": "https://www.example.org/",
        },
        summary="Create an L7 policy: what a listener does with requests that match",
    ),
    show=Act(handler=show_l7policy, summary="Show an L7 policy"),
    update=Act(
        handler=update_l7policy,
        takes=L7PolicyUpdate,
        example={"position": 1},
        summary="Change an L7 policy",
    ),
    delete=Act(handler=delete_l7policy, summary="Delete an L7 policy with its rules"),
)

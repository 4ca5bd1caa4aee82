# SPDX-License-Identifier: Apache-2.0
"""L7 policies: which attributes go with which action.

The action may be left out on a change when the attribute that belongs to it says which it is;
the attributes of other actions are then cleared.
"""

from typing import Any, Final

from colonnade.api.http.decoding import Body, Fields, set_fields
from colonnade.domain.l7 import ACTION_FIELDS, ACTIONS, REDIRECT_CODE, URL_ACTIONS, L7Policy
from colonnade.domain.limits import POSITION_MAX
from colonnade.domain.vocabulary import L7Action

ACTION_OF: Final = {field: action for action, fields in ACTIONS.items() for field in fields}


def read_policy(fields: Fields, _body: Body) -> Fields:
    return _for_action(fields, fields["action"])


def change_policy(fields: Fields, policy: L7Policy, body: Body) -> Fields:
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
    return _for_action(fields, action)


def _for_action(fields: Fields, action: L7Action) -> Fields:
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

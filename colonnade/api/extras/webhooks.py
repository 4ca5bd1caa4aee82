# SPDX-License-Identifier: Apache-2.0
"""Webhooks: where events are sent as they happen. An extra of ours.

The secret that messages are signed with comes in and never goes out: it is sealed before it is
stored. Events of all projects are for those alone who may write to any project. What became of
the messages is written by the notifier, and shown here.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from msgspec.json import decode, encode

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import set_fields
from colonnade.api.http.lists import Shown
from colonnade.api.resources.derived import optional
from colonnade.api.resources.flat_routes import Change, Hooks, shown
from colonnade.api.resources.objects import wrapped
from colonnade.domain.errors import POLICY, Forbidden, Invalid
from colonnade.domain.flat_nouns import WEBHOOKS as NOUN
from colonnade.domain.ids import new_id
from colonnade.domain.webhooks import KEY_RULE, Secrets, Sending, Webhook, read_secret
from colonnade.store.extras import webhooks
from colonnade.store.extras.webhooks import WEBHOOKS, sending
from colonnade.store.queue import events, work
from colonnade.store.rows import flat_rows
from colonnade.store.rows.flat_rows import Stored


class Trial(msgspec.Struct, frozen=True):
    """`id`: of the message, as `sending.deliveries` will have it."""

    id: str


async def check(change: Change[Webhook]) -> Mapping[str, Any]:
    """The secret, sealed; where a new webhook begins; and that one may be tried again at once."""
    call, webhook, before = change.call, change.value, change.before
    if webhook.all_projects and call.project is not None:
        raise Forbidden(POLICY)
    call.site.reach.check(webhook.url)
    _check_authority(webhook.ca_certificate)
    text = set_fields(change.body).get("secret")
    if before is None:
        if text is None:
            raise Invalid(f"secret is needed: it {KEY_RULE}", field="secret")
        secrets = _sealed(call, webhook.id, Secrets(read_secret(text)))
        return {"secrets": secrets, "position": await events.last_id(change.connection)}
    more: dict[str, Any] = {}
    if text is not None:
        more["secrets"] = _replaced(call, before, read_secret(text))
    if webhook.enabled:
        await work.mark(change.connection, webhooks.key(webhook.id))
    if webhook.enabled != before.value.enabled:
        more |= {"failing_since": None, "retry_at": None, "last_failure": "", "disabled_reason": ""}
    return more


def _check_authority(ca: str) -> None:
    try:
        if ca:
            ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise Invalid("ca_certificate is no certificate as PEM", field="ca_certificate") from error


def _replaced(call: Call, before: Stored[Webhook], key: bytes) -> bytes:
    sealed = call.site.sealing().unseal(bytes(before.facts["secrets"]), before.value.id)
    secrets = decode(sealed, type=Secrets).replaced(key, datetime.now(UTC).timestamp())
    return _sealed(call, before.value.id, secrets)


def _sealed(call: Call, webhook_id: str, secrets: Secrets) -> bytes:
    return call.site.sealing().seal(encode(secrets), webhook_id)


def show(stored: Stored[Webhook]) -> Shown:
    return shown(stored) | {
        "ca_certificate": stored.value.ca_certificate or None,
        "status": stored.facts["status"],
        "reason": stored.facts["reason"] or None,
        "sending": sending(stored),
    }


async def ask_trial(call: Call) -> JSON:
    """Send a message of no events, also to one that is disabled."""
    webhook_id, ping = call.id("webhook_id"), f"ping_{new_id()}"
    async with call.site.database.transaction() as connection:
        await flat_rows.get(connection, WEBHOOKS, webhook_id, project=call.project)
        await webhooks.ask_trial(connection, webhook_id, ping)
    return {"test": {"id": ping}}


HOOKS: Final = Hooks(
    bodies={"secret": optional(str)},
    answers={
        "ca_certificate": str | None,
        "status": Literal["OK", "FAILING", "DISABLED"],
        "reason": str | None,
        "sending": Sending,
    },
    check=check,
    shown=show,
)
ROUTES = [
    Route(
        method="POST",
        path=f"/v2/lbaas/{NOUN.steps}/{{{NOUN.place}:str}}/test",
        handler=ask_trial,
        success=202,
        rule=f"os_load-balancer_api:{NOUN.rule}:put",
        answers=wrapped("test", Trial),
        summary="Send a webhook a message of no events, to try it",
    ),
]

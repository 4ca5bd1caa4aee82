# SPDX-License-Identifier: Apache-2.0
"""Log targets: where a project's access logs go. An extra of ours; `access_log` of a listener or
load balancer names one.

Credentials come in and never go out: they are sealed before they are stored, and an answer says
only whether there are any. `shipping` is what the amphorae say of each listener's lines.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.json import encode

from colonnade.api.http.call import Call
from colonnade.api.http.decoding import set_fields
from colonnade.api.http.lists import Shown
from colonnade.api.resources.derived import optional
from colonnade.api.resources.flat_routes import Change, Hooks, shown
from colonnade.domain.log_targets import LogTarget, TargetType
from colonnade.store.extras.log_targets import Shipping, shipping
from colonnade.store.rows.flat_rows import Stored


async def check(change: Change[LogTarget]) -> Mapping[str, Any]:
    """The credentials, sealed."""
    target, before = change.value, change.before
    fields = set_fields(change.body)
    if before is None or "credentials" in fields:
        credentials = fields.get("credentials") or {}
        target.check_credentials(credentials)
        return {"credentials": _sealed(change.call, target.id, credentials)}
    if target.url != before.value.url and before.facts["credentials"] is not None:
        # Who may change the place, but does not know the secret, must not have it sent there.
        target.check_credentials({})
        return {"credentials": None}
    return {}


def _sealed(call: Call, target_id: str, credentials: dict[str, str]) -> bytes | None:
    if not credentials:
        return None
    return call.site.sealing().seal(encode(credentials), target_id)


def show(stored: Stored[LogTarget]) -> Shown:
    target = stored.value
    return shown(stored) | {
        "bucket": target.bucket or None,
        "region": target.region if target.type is TargetType.S3 else None,
        "ca_certificate": target.ca_certificate or None,
        "has_credentials": stored.facts["credentials"] is not None,
        "shipping": shipping(stored),
    }


HOOKS: Final = Hooks(
    bodies={"credentials": optional(dict[str, str])},
    answers={
        "bucket": str | None,
        "region": str | None,
        "ca_certificate": str | None,
        "has_credentials": bool,
        "shipping": list[Shipping],
    },
    check=check,
    shown=show,
)

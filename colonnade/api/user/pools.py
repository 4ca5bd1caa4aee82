# SPDX-License-Identifier: Apache-2.0
"""Pools: what must be said of them, their TLS, and how clients stay with a member."""

import msgspec

from colonnade.api.http.decoding import Body, Fields, given
from colonnade.api.resources.tls import change_tls, read_tls
from colonnade.domain.errors import Invalid
from colonnade.domain.pools import Persistence, Pool


def read_pool(fields: Fields, body: Body) -> Fields:
    for name in ("protocol", "lb_algorithm"):
        if not body.said(name):
            raise Invalid(f"Invalid input for field/attribute {name}. Mandatory field missing.")
    if persistence := body.said("session_persistence"):
        fields["session_persistence"] = _read_persistence(persistence, None)
    return read_tls(fields, used=bool(body.said("tls_enabled")), alpn=False)


def change_pool(fields: Fields, pool: Pool, body: Body) -> Fields:
    fields = change_tls(fields, body, used=fields.get("tls_enabled", pool.tls_enabled))
    if persistence := body.said("session_persistence"):
        fields["session_persistence"] = _read_persistence(persistence, pool.session_persistence)
    return fields


def _read_persistence(body: Body, old: Persistence | None) -> Persistence:
    """A change may leave the type out: then the type and its cookie stay."""
    fields = given(body, Persistence)
    if "type" not in fields:
        if old is None:
            raise Invalid("Invalid input for field/attribute type. Mandatory field missing.")
        fields = msgspec.structs.asdict(old) | fields
    elif old is not None and old.type == fields["type"]:
        fields.setdefault("cookie_name", old.cookie_name)
    return Persistence(**fields)

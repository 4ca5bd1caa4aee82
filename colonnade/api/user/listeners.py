# SPDX-License-Identifier: Apache-2.0
"""Listeners: their TLS, who may connect, and their counters.

A listener without a pool is accepted; its answer says what it lacks. Which protocols can be
served is the provider's to say, before anything is stored.
"""

from ipaddress import ip_network
from typing import Final

from colonnade.api.http.call import JSON, Call, Route
from colonnade.api.http.decoding import Body, Fields
from colonnade.api.resources.objects import Statistics, wrapped
from colonnade.api.resources.resource import wire
from colonnade.api.resources.tls import change_tls, read_tls
from colonnade.domain.errors import Invalid
from colonnade.domain.listeners import Listener
from colonnade.domain.shape import LISTENERS
from colonnade.domain.vocabulary import ListenerProtocol
from colonnade.store.trees import records


def read_listener(fields: Fields, _body: Body) -> Fields:
    ends_tls = fields.get("protocol") is ListenerProtocol.TERMINATED_HTTPS
    return read_tls(_with_canonical_cidrs(fields), used=ends_tls)


def change_listener(fields: Fields, listener: Listener, body: Body) -> Fields:
    ends_tls = listener.protocol is ListenerProtocol.TERMINATED_HTTPS
    return change_tls(_with_canonical_cidrs(fields), body, used=ends_tls)


def _with_canonical_cidrs(fields: Fields) -> Fields:
    cidrs = fields.get("allowed_cidrs")
    if cidrs:
        fields["allowed_cidrs"] = tuple(_read_cidr(text) for text in cidrs)
    return fields


def _read_cidr(text: str) -> str:
    """With the bits of the host masked."""
    try:
        if "%" not in text:  # a scope may be any text at all
            return str(ip_network(text, strict=False))
    except ValueError:
        pass
    raise Invalid(
        f"Invalid input for field/attribute allowed_cidrs. Value: '{text}'. "
        "Value should be IPv4 or IPv6 CIDR format"
    )


async def show_listener_stats(call: Call) -> JSON:
    listener_id = call.id("listener_id")
    await call.check(LISTENERS, listener_id)
    async with call.site.database.read() as connection:
        return {"stats": await records.statistics(connection, LISTENERS, listener_id)}


ROUTES: Final = (
    Route(
        method="GET",
        path=wire(LISTENERS).object_path + "/stats",
        handler=show_listener_stats,
        answers=wrapped("stats", Statistics),
        rule="os_load-balancer_api:listener:get_stats",
        summary="Show a listener's counters",
    ),
)

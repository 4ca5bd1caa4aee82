# SPDX-License-Identifier: Apache-2.0
"""Listeners: the ports of a load balancer's VIP, and what is done there with a client's traffic.

Values are checked as they are made. Nothing here knows whether a pool that is named is there.
"""

import msgspec

from colonnade.domain import limits
from colonnade.domain.errors import require
from colonnade.domain.ids import ListenerId, PoolId
from colonnade.domain.node import Node
from colonnade.domain.vocabulary import ListenerProtocol


class Listener(Node, frozen=True, kw_only=True):
    """A port on the VIP. `timeout_*` are milliseconds; -1 connections means no limit."""

    id: ListenerId
    protocol: ListenerProtocol
    protocol_port: int
    description: str = ""
    default_pool_id: PoolId | None = None
    connection_limit: int = -1
    insert_headers: dict[str, str] = msgspec.field(default_factory=dict)
    timeout_client_data: int = 50_000
    timeout_member_connect: int = 5_000
    timeout_member_data: int = 50_000
    timeout_tcp_inspect: int = 0
    allowed_cidrs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Node.__post_init__(self)
        require("description", len(self.description) <= limits.TEXT_MAX, "is at most 255 long")
        require(
            "protocol_port",
            1 <= self.protocol_port <= limits.PORT_MAX,
            "must be between 1 and 65535",
        )
        require("connection_limit", self.connection_limit >= -1, "must be -1 or more")
        for field in (
            "timeout_client_data",
            "timeout_member_connect",
            "timeout_member_data",
            "timeout_tcp_inspect",
        ):
            value: int = getattr(self, field)
            require(field, 0 <= value <= limits.TIMEOUT_MS_MAX, "must be between 0 and 2073600000")

    @property
    def transport(self) -> str:
        """The layer-4 protocol; listeners of one transport may not share a port."""
        if self.protocol in (ListenerProtocol.UDP, ListenerProtocol.SCTP):
            return self.protocol.value
        return "TCP"

# SPDX-License-Identifier: Apache-2.0
"""Attributes of the wire contract that nothing serves yet are refused by name, never ignored.

Their defaults are accepted, so that a client which always sends all attributes gets along.
"""

from typing import Final

import msgspec

from colonnade.api.reading import unserved
from colonnade.providers.provider import unsupported

# Read by a handler itself, or ignored by the contract: not attributes of the value.
_READ: Final = frozenset(
    {
        "project_id",
        "tenant_id",
        "loadbalancer_id",
        "listener_id",
        "pool_id",
        "members",
        "healthmonitor",
        "default_pool",
        "listeners",
        "pools",
        "vip_address",
        "vip_port_id",
        "vip_network_id",
        "vip_subnet_id",
        "vip_qos_policy_id",
    }
)


def refuse_unserved(provider: str, body: msgspec.Struct, node: type[msgspec.Struct]) -> None:
    """Raises Incompatible when the body asks for what no value of ours can hold yet."""
    names = unserved(body, node, _READ)
    if names:
        raise unsupported(provider, ", ".join(names))

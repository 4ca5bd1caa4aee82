# SPDX-License-Identifier: Apache-2.0
"""How many bytes a tree's part of a bundle will have, roughly, without rendering it.

An amphora takes bundles up to a limit. What is clearly above is told before it is stored; what
passes here and still is too long is refused when it is rendered. Pure.
"""

from collections import Counter
from typing import Final

import msgspec
from msgspec.structs import replace

from colonnade.domain.errors import require
from colonnade.domain.l7 import L7Policy
from colonnade.domain.listeners import Listener
from colonnade.domain.once import once_each
from colonnade.domain.pools import Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.amphora.haproxy import certificates, view
from colonnade.protocol.bundle import BUNDLE_BYTES_MAX

# Of each in haproxy's file and, of a server, in the bundle beside it.
LISTENER_BYTES: Final = 600
BACKEND_BYTES: Final = 500
SERVER_BYTES: Final = 130
TLS_BYTES: Final = 400
RULE_BYTES: Final = 75
NAME_BYTES: Final = 37  # an id and a space, where a policy names its rules
CIDR_BYTES: Final = 4
PEM_BYTES: Final = 4096


def check(tree: LoadBalancer) -> None:
    """Raises Invalid when no amphora could take the tree."""
    size = expected_bytes(tree)
    require(
        "members",
        size <= BUNDLE_BYTES_MAX,
        f"and all else of the load balancer make about {_mib(size)} MiB of configuration, and an "
        f"amphora takes {_mib(BUNDLE_BYTES_MAX)}. Have fewer of them, or several load balancers. "
        "Members count once for each group of the pool's listeners that differ in "
        "timeout_member_connect or timeout_member_data",
    )


def expected_bytes(tree: LoadBalancer) -> int:
    """Of the order of what it will be."""
    pools = {pool.id: pool for pool in tree.pools if pool.admin_state_up}
    found = set(view.backend_names(tree, pools).items())
    backends = Counter(pool_id for pool_id, _ in {(key[1], name) for key, name in found})
    return (
        sum(_of_listener(listener, len(tree.vips)) for listener in tree.listeners)
        + sum(number * _of_pool(pools[pool_id]) for pool_id, number in backends.items())
        + sum(PEM_BYTES for _ in certificates.files(tree))
    )


def _of_listener(listener: Listener, vips: int) -> int:
    cidrs = vips * sum(len(cidr) + CIDR_BYTES for cidr in listener.allowed_cidrs)
    return LISTENER_BYTES + cidrs + _of_policies(listener)


@once_each
def _of_policies(listener: Listener) -> int:
    return sum(map(_of_policy, listener.l7policies))


def _of_policy(policy: L7Policy) -> int:
    lines = max(1, len(policy.redirect_pools))
    rules = sum(
        RULE_BYTES + lines * NAME_BYTES + len(rule.value) + len(rule.key or "")
        for rule in policy.rules
    )
    return len(msgspec.json.encode(replace(policy, rules=()))) + rules


@once_each
def _of_pool(pool: Pool) -> int:
    """One backend of the pool; with a panic threshold it has a twin."""
    tls = TLS_BYTES + len(pool.tls_ciphers or "") if pool.tls_enabled else 0
    members = len(pool.members) * 2 * (SERVER_BYTES + tls)
    return (BACKEND_BYTES + members) * (2 if pool.panic_threshold else 1)


def _mib(size: int) -> int:
    return -(-size // 2**20)

# SPDX-License-Identifier: Apache-2.0
"""Who may open connections, as one table of nftables in the traffic namespace.

Invariant: the table is replaced as a whole, in one transaction; a packet passes when every rule
about its port lets it. Only the packet that opens a connection is looked at (for TCP a SYN without
ACK), so connections that are open when a client loses its right go on until they end, and nothing
is remembered per connection. Of VRRP every packet is looked at, whatever its address. What may not
pass is dropped without an answer. A port with no rule is open to all. It knows no haproxy.
"""

import logging
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from pathlib import Path
from typing import Final

from colonnade.agent.network import nftables
from colonnade.agent.network.nftables import Json, NftError
from colonnade.protocol.bundle import Access

TABLE: Final = "colonnade"
VRRP: Final = 112  # the number of the protocol
Rules = Sequence[Access]
log = logging.getLogger(__name__)


class FirewallError(Exception):
    """The rules are those of before; why, in words for a person."""


class Firewall:
    """The rules while one bundle replaces another: meanwhile a client must be allowed by both to
    open a connection."""

    def __init__(self, namespace: Path) -> None:
        self._namespace = namespace
        self._is_narrow = False  # the rules are stricter than wanted

    async def set(self, wanted: Rules) -> None:
        """Set the rules of one bundle, or of two together: then a client must be allowed by both.
        Raises FirewallError."""
        await enforce(tuple(dict.fromkeys(wanted)), self._namespace)
        self._is_narrow = False

    async def widen(self, wanted: Rules) -> None:
        """Go from the rules of two bundles to those of one. After a failure some clients stay
        locked out until `repair`."""
        try:
            await self.set(wanted)
        except FirewallError as error:
            self.stay_narrow(str(error))

    def stay_narrow(self, reason: str) -> None:
        """Keep the narrow rules, as it is not known whether `widen` is safe; `repair` tries."""
        log.warning("fewer clients are let in than may: %s", reason)
        self._is_narrow = True

    async def repair(self, wanted: Rules) -> None:
        """Set again what somebody else may have changed."""
        if wanted or self._is_narrow:
            await self.widen(wanted)


async def enforce(rules: Rules, namespace: Path) -> None:
    """Make these the rules of the namespace. Raises FirewallError."""
    try:
        wanted = transaction(rules)
    except ValueError as error:
        raise FirewallError(f"the allowed CIDRs cannot be read: {error}") from error
    try:
        await nftables.change(wanted, namespace)
    except NftError as error:
        raise FirewallError(f"the packet filter's rules cannot be set: {error}") from error


def transaction(rules: Rules) -> Json:
    """What nft is told, in the JSON of libnftables-json(5). Pure. Raises ValueError."""
    said: list[Json] = []
    jumps: list[Json] = []
    for number, one in enumerate(rules):
        name = f"rule{number}"
        said += _chain(name, one)
        jumps.append(nftables.rule(TABLE, "input", [*_opens(one), {"jump": {"target": name}}]))
    if rules:
        hook = {"type": "filter", "hook": "input", "prio": 0, "policy": "accept"}
        said.append(nftables.chain(TABLE, "input", **hook))
    return nftables.replacing(TABLE, [*said, *jumps])


def _chain(name: str, access: Access) -> list[Json]:
    """Back to where it came from when the source is allowed, else dropped."""
    said = [nftables.chain(TABLE, name)]
    version = ip_address(access.address).version
    networks = [ip_network(text, strict=False) for text in access.allowed]
    sources: list[IPv4Network | IPv6Network] = list(
        collapse_addresses(n for n in networks if n.version == version)  # type: ignore[type-var]
    )
    if any(network.prefixlen == 0 for network in sources):
        return said
    if sources:
        prefixes = [
            {"prefix": {"addr": str(n.network_address), "len": n.prefixlen}} for n in sources
        ]
        allowed = nftables.match(
            nftables.field(nftables.family(version), "saddr"), {"set": prefixes}
        )
        said.append(nftables.rule(TABLE, name, [allowed, {"return": None}]))
    return [*said, nftables.rule(TABLE, name, [{"drop": None}])]


def _opens(access: Access) -> list[Json]:
    """A packet that opens a connection to the port, or any of VRRP."""
    if access.protocol == "vrrp":
        return [nftables.match(nftables.PROTOCOL, VRRP)]
    address = ip_address(access.address)
    found = [
        nftables.match(nftables.field(nftables.family(address.version), "daddr"), str(address)),
        nftables.match(nftables.field(access.protocol, "dport"), access.port),
    ]
    return [*found, nftables.OPENS_TCP] if access.protocol == "tcp" else found

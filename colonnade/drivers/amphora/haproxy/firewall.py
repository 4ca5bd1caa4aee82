# SPDX-License-Identifier: Apache-2.0
"""Who may open connections to which port, as the bundle says it. Pure.

A listener with no allowed CIDRs is open to all and has no entry. A listener that is
administratively down has one too: it has no effect, because the port is closed. The halves of a
pair listen to each other alone. Knows no packet filter.
"""

from collections.abc import Sequence

from colonnade.domain.addresses import canonical
from colonnade.domain.fleet import Cluster
from colonnade.protocol.bundle import Access, Interface, Pair
from colonnade.protocol.messages import PORT_BFD, PORT_BGP, PORT_STICK_TABLES


def firewall_rules(wanted: Cluster) -> tuple[Access, ...]:
    """In the order of load balancers and listeners."""
    if wanted.deleted:
        return ()
    return tuple(
        Access(
            address=canonical(vip.address),
            port=listener.protocol_port,
            allowed=tuple(sorted(listener.allowed_cidrs)),
            protocol=listener.transport.lower(),
        )
        for tree in sorted(wanted.load_balancers, key=lambda tree: tree.id)
        for listener in sorted(tree.listeners, key=lambda listener: listener.id)
        if listener.allowed_cidrs
        for vip in tree.vips
    )


def between_amphorae(pair: Pair | None, sharing: Sequence[str]) -> tuple[Access, ...]:
    """Who may speak VRRP with an amphora, and share its stick tables: its own old worker and the
    others of `sharing`. One that serves alone speaks none, and nobody is kept from a port that is
    closed."""
    found = []
    if pair is not None:
        peer = (pair.peer,) if pair.peer else ()
        found.append(Access(address=pair.own, port=0, allowed=peer, protocol="vrrp"))
    if sharing:
        own, allowed = sharing[0], tuple(sharing)
        found.append(Access(address=own, port=PORT_STICK_TABLES, allowed=allowed))
    return tuple(found)


def from_routers(interfaces: Sequence[Interface]) -> tuple[Access, ...]:
    """Those to which VIPs are announced, and nobody else, may speak BGP and BFD with it."""
    return tuple(
        Access(
            address=interface.addresses[0].partition("/")[0],
            port=port,
            allowed=tuple(one.address for one in interface.hearers),
            protocol=protocol,
        )
        for interface in interfaces
        if interface.hearers
        for port, protocol in ((PORT_BGP, "tcp"), (PORT_BFD, "udp"))
    )


def who_shares(interfaces: Sequence[Interface], pair: Pair | None) -> tuple[str, ...]:
    """The addresses of amphorae that share stick tables, its own first; none: it serves alone."""
    if pair is not None:
        return tuple(filter(None, (pair.own, pair.peer)))
    for interface in interfaces:
        if interface.peers:
            return (interface.addresses[0].partition("/")[0], *interface.peers)
    return ()

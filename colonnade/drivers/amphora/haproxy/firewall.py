# SPDX-License-Identifier: Apache-2.0
"""Who may open connections to which port, as the bundle says it. Pure.

A listener with no allowed CIDRs is open to all and has no entry. A listener that is
administratively down has one too: it has no effect, because the port is closed. The halves of a
pair listen to each other alone. Knows no packet filter.
"""

from colonnade.domain.addresses import canonical
from colonnade.domain.fleet import Cluster
from colonnade.protocol.bundle import Access, Pair
from colonnade.protocol.messages import PORT_STICK_TABLES


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


def between_halves(pair: Pair | None) -> tuple[Access, ...]:
    """Who may speak VRRP with an amphora, and share its stick tables: its own old worker and the
    other half. One that serves alone speaks none, and nobody is kept from a port that is closed."""
    if pair is None:
        return ()
    peer = (pair.peer,) if pair.peer else ()
    return (
        Access(address=pair.own, port=0, allowed=peer, protocol="vrrp"),
        Access(address=pair.own, port=PORT_STICK_TABLES, allowed=(pair.own, *peer)),
    )

# SPDX-License-Identifier: Apache-2.0
"""What serves the trees: clusters and the amphorae in them.

A cluster owns the one generation counter of the load balancers it serves; each amphora
reports the generation it serves. This module knows no driver and no database.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

from colonnade.domain.ids import AmphoraId, ClusterId, PortId
from colonnade.domain.lifecycle import State
from colonnade.domain.ordering import Challenge
from colonnade.domain.tree import LoadBalancer


class Topology(StrEnum):
    SINGLE = "SINGLE"
    ACTIVE_STANDBY = "ACTIVE_STANDBY"
    ACTIVE_ACTIVE = "ACTIVE_ACTIVE"  # all serve at once, and a router spreads clients over them

    def size(self, amphorae: int) -> int:
        """How many amphorae serve. `amphorae`: how many were asked for, where that is a choice."""
        if self is Topology.ACTIVE_ACTIVE:
            return amphorae
        return 1 if self is Topology.SINGLE else 2


class FrontEnd(StrEnum):
    """How clients' packets find the amphora that answers."""

    LAYER_2 = "layer2"
    ROUTED = "routed"


class Role(StrEnum):
    """Of one half of a pair, as it says itself."""

    MASTER = "MASTER"  # it holds the VIPs
    BACKUP = "BACKUP"


class Amphora(msgspec.Struct, frozen=True, kw_only=True):
    """One back-end appliance. `lb_network_ip` is its address on the LB network."""

    id: AmphoraId
    state: State
    flavor: str = "default"
    cluster_id: ClusterId | None = None
    lb_network_ip: str | None = None
    lb_port_id: PortId | None = None
    applied: int = 0  # the generation it last answered for; 0: none
    created_at: datetime | None = None
    cert_expiration: datetime | None = None
    issuer: str = ""  # the authority of its certificate
    authorities: str = ""  # digest of the authorities that it trusts
    agent_version: str | None = None  # as it told last, "" when it tells none; None: not asked yet
    born_by: str = ""  # the release that booted it; "": not known
    image_tag: str | None = None  # as its flavor said then
    engine: str = ""  # the same; "": not known
    outdated: str = ""  # why it is, for people
    outdated_since: datetime | None = None  # None: it is not, or one made now would be the same
    # Of one half of a pair, or of many:
    role: Role | None = None  # None: it has not said yet
    peer_id: AmphoraId | None = None  # the other half, as it was last told; of many a name for all
    vrrp_priority: int | None = None
    # Of a seat: the amphora that carries it. A seat is all that one load balancer has of it.
    carrier_id: AmphoraId | None = None

    @property
    def is_half(self) -> bool:
        """Whether it was lent as one half of a pair; it stays one as long as it serves."""
        return self.vrrp_priority is not None


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """The wish for one cluster: its trees as of `generation`. `deleted`: nothing should serve."""

    id: ClusterId
    generation: int
    look: int = 0  # at what there is, by which steps of one generation are ordered; 0: unknown
    topology: Topology = Topology.SINGLE
    amphorae: int = 2  # of ACTIVE_ACTIVE: how many serve
    advert_ms: int = 100  # between two adverts of VRRP
    flavor: str = "default"
    per_amphora: int = 1  # how many load balancers may share an amphora; 1: none does
    deleted: bool = False
    load_balancers: tuple[LoadBalancer, ...] = ()
    challenge: Challenge | None = None  # where a certificate that they use is ordered

    @property
    def size(self) -> int:
        """How many amphorae serve it."""
        return self.topology.size(self.amphorae)

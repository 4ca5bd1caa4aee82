# SPDX-License-Identifier: Apache-2.0
"""The nouns of a load balancer's tree: lb, listener, pool, member, hm, policy, rule.

Their options are the attributes of the nouns themselves, and here what they are made below.
"""

from typing import Final

from colonnade.cli.nouns.derived import options
from colonnade.cli.nouns.description import (
    ID,
    NAME,
    OF_LOAD_BALANCER,
    STATUS,
    WHY,
    Attribute,
    Column,
    Noun,
)
from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import HealthMonitor, Member, Pool
from colonnade.domain.tree import LoadBalancer

LOAD_BALANCERS: Final = Noun(
    word="lb",
    noun="load balancer",
    help="load balancers",
    path="lbaas/loadbalancers",
    one="loadbalancer",
    many="loadbalancers",
    columns=(
        NAME, ID, Column("VIP", "vip_address"), STATUS, Column("Provider", "provider"), WHY,
    ),
    filters=(
        Attribute("vip_address", "With this VIP.", options=("--vip-address",)),
        Attribute("project_id", "Of this project.", options=("--of-project",)),
    ),
    attributes=options(LoadBalancer),
)  # fmt: skip

LISTENERS: Final = Noun(
    word="listener",
    noun="listener",
    help="listeners",
    path="lbaas/listeners",
    one="listener",
    many="listeners",
    within=("lb", "loadbalancer_id"),
    columns=(
        NAME, ID, Column("Protocol", "protocol"), Column("Port", "protocol_port"), STATUS,
        Column("Default pool", "default_pool_id", refers="pool"),
        Column("Load balancer", "loadbalancers", refers="lb"),
    ),
    filters=(OF_LOAD_BALANCER,),
    attributes=(
        Attribute(
            "loadbalancer_id", "The load balancer it is for.",
            options=("--lb",), refers="lb", required=True, fixed=True,
        ),
        *options(Listener),
    ),
)  # fmt: skip

POOLS: Final = Noun(
    word="pool",
    noun="pool",
    help="pools",
    path="lbaas/pools",
    one="pool",
    many="pools",
    within=("lb", "loadbalancer_id"),
    columns=(
        NAME, ID, Column("Protocol", "protocol"), Column("Algorithm", "lb_algorithm"), STATUS,
        Column("Load balancer", "loadbalancers", refers="lb"), WHY,
    ),
    filters=(OF_LOAD_BALANCER,),
    attributes=(
        Attribute(
            "loadbalancer_id", "The load balancer it is for, or --listener.",
            options=("--lb",), refers="lb", fixed=True,
        ),
        Attribute(
            "listener_id", "Become this listener's default pool.", options=("--listener",),
            refers="listener", fixed=True,
        ),
        *options(Pool),
    ),
)  # fmt: skip

MEMBERS: Final = Noun(
    word="member",
    noun="member",
    help="members of a pool",
    path="lbaas/pools/{parent}/members",
    one="member",
    many="members",
    parent="pool",
    columns=(
        NAME, ID, Column("Address", "endpoint"), Column("Weight", "weight"), STATUS, WHY,
        Column("Backup", "backup"), Column("Subnet", "subnet_id", refers="subnet"),
    ),
    attributes=options(Member),
)  # fmt: skip

HEALTH_MONITORS: Final = Noun(
    word="hm",
    noun="health monitor",
    help="health monitors",
    path="lbaas/healthmonitors",
    one="healthmonitor",
    many="healthmonitors",
    within=("pool", "pool_id"),
    columns=(
        NAME, ID, Column("Type", "type"), Column("Delay", "delay"), STATUS,
        Column("Pool", "pools", refers="pool"),
    ),
    filters=(Attribute("pool_id", "Of this pool.", options=("--pool",), refers="pool"),),
    attributes=(
        Attribute(
            "pool_id", "The pool whose members it checks.", options=("--pool",), refers="pool",
            required=True, fixed=True,
        ),
        *options(HealthMonitor),
    ),
)  # fmt: skip

L7_POLICIES: Final = Noun(
    word="policy",
    noun="L7 policy",
    help="L7 policies",
    path="lbaas/l7policies",
    one="l7policy",
    many="l7policies",
    within=("listener", "listener_id"),
    columns=(
        NAME, ID, Column("Action", "action"), Column("Position", "position"), STATUS,
        Column("Listener", "listener_id"),
    ),
    filters=(
        Attribute("listener_id", "Of this listener.", options=("--listener",), refers="listener"),
    ),
    attributes=(
        Attribute(
            "listener_id", "The listener it is for.", options=("--listener",), refers="listener",
            required=True, fixed=True,
        ),
        *options(L7Policy),
    ),
)  # fmt: skip

L7_RULES: Final = Noun(
    word="rule",
    noun="L7 rule",
    help="rules of an L7 policy; all of them must hold",
    path="lbaas/l7policies/{parent}/rules",
    one="rule",
    many="rules",
    parent="policy",
    named=False,
    columns=(
        ID, Column("Type", "type"), Column("Compare", "compare_type"), Column("Key", "key"),
        Column("Value", "value"), Column("Invert", "invert"), STATUS,
    ),
    attributes=options(L7Rule),
)  # fmt: skip

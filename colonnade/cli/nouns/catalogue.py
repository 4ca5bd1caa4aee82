# SPDX-License-Identifier: Apache-2.0
"""The nouns beside the tree that are no flat nouns of the common kind: providers, quotas,
amphorae, secrets, and those that others are named by: subnets, networks.
"""

from typing import Final

from colonnade.cli.nouns.description import (
    ID,
    NAME,
    OF_LOAD_BALANCER,
    Attribute,
    Column,
    Kind,
    Noun,
)

_READ: Final = ("list", "show")

PROVIDERS: Final = Noun(
    word="provider", noun="provider", help="providers",
    path="lbaas/providers", one="provider", many="providers", key="name", waits=False,
    verbs=("list",), columns=(NAME, Column("Description", "description", wraps=True)),
)  # fmt: skip

QUOTAS: Final = Noun(
    word="quota", noun="quota", help="quotas of projects", path="lbaas/quotas", one="quota",
    many="quotas", key="name", waits=False, verbs=("list",),
    columns=(
        Column("Project", "project_id"), Column("LBs", "loadbalancer"),
        Column("Listeners", "listener"), Column("Pools", "pool"), Column("Members", "member"),
        Column("Monitors", "healthmonitor"), Column("Policies", "l7policy"),
        Column("Rules", "l7rule"),
    ),
    attributes=(
        Attribute("loadbalancer", "-1: no limit.", Kind.INTEGER, ("--lb",)),
        Attribute("listener", "", Kind.INTEGER),
        Attribute("pool", "", Kind.INTEGER),
        Attribute("member", "", Kind.INTEGER),
        Attribute("healthmonitor", "", Kind.INTEGER, ("--hm",)),
        Attribute("l7policy", "", Kind.INTEGER),
        Attribute("l7rule", "", Kind.INTEGER),
    ),
)  # fmt: skip

AMPHORAE: Final = Noun(
    word="amphora", noun="amphora", help="amphorae (operators)", path="octavia/amphorae",
    one="amphora", many="amphorae", named=False, waits=False, verbs=("list", "show", "delete"),
    columns=(
        ID, Column("Status", "status"), Column("Role", "role"), Column("Address", "lb_network_ip"),
        Column("VIP", "ha_ip"), Column("Load balancer", "loadbalancer_id", refers="lb"),
    ),
    filters=(
        OF_LOAD_BALANCER,
        Attribute("status", "READY, ALLOCATED, BOOTING, ..."),
        Attribute("role", "STANDALONE, MASTER or BACKUP."),
    ),
)  # fmt: skip

SECRETS: Final = Noun(
    word="secret", noun="secret", help="certificates with their keys, CAs and CRLs",
    path="lbaas/secrets", one="secret", many="secrets", waits=False,
    verbs=("list", "show", "delete"),
    columns=(
        NAME, ID, Column("Type", "type"), Column("Expires", "not_after"),
        Column("Expiring", "expiring"), Column("Subject", "subject"),
        Column("Order", "order_status"),
    ),
)  # fmt: skip

SUBNETS: Final = Noun(
    word="subnet", noun="subnet", help="subnets that VIPs and members can be on", path="subnets",
    one="subnet", many="subnets", waits=False, verbs=_READ,
    columns=(
        NAME, ID, Column("Range", "cidr"), Column("Gateway", "gateway_ip"),
        Column("Network", "network_id", refers="network"),
    ),
)  # fmt: skip

NETWORKS: Final = Noun(
    word="network", noun="network", help="networks", path="networks", one="network",
    many="networks", waits=False, verbs=(), columns=(NAME, ID),
)  # fmt: skip

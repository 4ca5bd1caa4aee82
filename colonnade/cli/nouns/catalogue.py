# SPDX-License-Identifier: Apache-2.0
"""The nouns that operators keep: flavors, zones, their profiles, providers, quotas, amphorae; and
those that others are named by: subnets, networks, affinity groups, secrets.
"""

from typing import Final

from colonnade.cli.nouns.description import (
    DESCRIPTION,
    ID,
    NAME,
    OF_LOAD_BALANCER,
    Attribute,
    Column,
    Kind,
    Noun,
)

_ENABLED: Final = Attribute("enabled", "", Kind.FLAG, ("--enable/--disable",))
_ON: Final = Column("Enabled", "enabled")
_PROVIDER: Final = Column("Provider", "provider_name")
_OF_PROVIDER: Final = Attribute(
    "provider_name", "For this provider.", options=("--provider",), refers="provider",
    required=True,
)  # fmt: skip
_READ: Final = ("list", "show")

FLAVORS: Final = Noun(
    word="flavor", noun="flavor", help="flavors", path="lbaas/flavors", one="flavor",
    many="flavors", waits=False,
    columns=(NAME, ID, _ON, Column("Description", "description", wraps=True)),
    attributes=(
        Attribute(
            "flavor_profile_id", "Its profile.", options=("--profile",),
            refers="flavorprofile", required=True, fixed=True,
        ),
        DESCRIPTION, _ENABLED,
    ),
)  # fmt: skip

FLAVOR_PROFILES: Final = Noun(
    word="flavorprofile", noun="flavor profile", help="flavor profiles",
    path="lbaas/flavorprofiles", one="flavorprofile", many="flavorprofiles",
    links="flavorprofile_links", waits=False,
    columns=(NAME, ID, _PROVIDER, Column("Data", "flavor_data", wraps=True)),
    attributes=(
        _OF_PROVIDER,
        Attribute(
            "flavor_data", "Settings for the provider, as JSON.", options=("--data",),
            required=True,
        ),
    ),
)  # fmt: skip

ZONES: Final = Noun(
    word="az", noun="availability zone", help="availability zones",
    path="lbaas/availabilityzones", one="availability_zone", many="availability_zones",
    key="name", waits=False, columns=(NAME, _ON, Column("Description", "description", wraps=True)),
    attributes=(
        Attribute(
            "availability_zone_profile_id", "Its profile.",
            options=("--profile",), refers="azprofile", required=True, fixed=True,
        ),
        DESCRIPTION, _ENABLED,
    ),
)  # fmt: skip

ZONE_PROFILES: Final = Noun(
    word="azprofile", noun="availability zone profile", help="availability zone profiles",
    path="lbaas/availabilityzoneprofiles", one="availability_zone_profile",
    many="availability_zone_profiles", links="availability_zone_profile_links", waits=False,
    columns=(NAME, ID, _PROVIDER, Column("Data", "availability_zone_data", wraps=True)),
    attributes=(
        _OF_PROVIDER,
        Attribute(
            "availability_zone_data", "Settings for the provider, as JSON.",
            options=("--data",), required=True,
        ),
    ),
)  # fmt: skip

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
    ),
)  # fmt: skip

AFFINITY_GROUPS: Final = Noun(
    word="affinity", noun="affinity group", help="affinity groups", path="lbaas/affinitygroups",
    one="affinitygroup", many="affinitygroups", waits=False,
    columns=(
        NAME, ID, Column("Policy", "policy"),
        Column("Load balancers", "loadbalancers", refers="lb"),
    ),
    attributes=(
        Attribute(
            "policy", "Together or apart, always or if possible.",
            choices=("colocation", "apolocation", "soft-colocation", "soft-apolocation"),
            required=True, fixed=True,
        ),
        DESCRIPTION,
    ),
)  # fmt: skip

LOG_TARGETS: Final = Noun(
    word="logtarget", noun="log target", help="log targets", path="lbaas/logtargets",
    one="logtarget", many="logtargets", waits=False,
    columns=(NAME, ID, Column("Type", "type"), Column("URL", "url")),
    attributes=(
        Attribute(
            "type", "What it is.", choices=("S3", "SWIFT", "SYSLOG", "OTLP"), required=True,
            fixed=True,
        ),
        Attribute("url", "Where it is.", options=("--to",), required=True),
        Attribute("bucket", "Of an object store."),
        Attribute("prefix", "Prefix of the objects' names."),
        Attribute("region", "Of an object store."),
        Attribute("ca_certificate", "CA of its certificate: a PEM file.", Kind.FILE),
        Attribute("credentials", "A YAML or JSON file with its credentials.", Kind.FILED),
        DESCRIPTION,
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

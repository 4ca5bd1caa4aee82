# SPDX-License-Identifier: Apache-2.0
"""The flat nouns: all of them that there are. Their classes say the attributes; what is special
about one is a function beside its routes or its rows. Words and sentences are the wire contract's.
"""

from typing import Any, Final

from colonnade.domain.affinity import AffinityGroup
from colonnade.domain.catalogue import (
    AvailabilityZone,
    AvailabilityZoneProfile,
    Flavor,
    FlavorProfile,
)
from colonnade.domain.flat import FlatNoun, Rights, Title, Verb
from colonnade.domain.limits import (
    AFFINITY_GROUPS_PER_PROJECT_MAX,
    LOG_TARGETS_PER_PROJECT_MAX,
    WEBHOOKS_PER_PROJECT_MAX,
)
from colonnade.domain.log_targets import LogTarget
from colonnade.domain.webhooks import Webhook

_SAMPLE_ID: Final = "6f1de8a5-1b4c-4a63-9a1e-0d7c5ab1c0de"
_KEPT: Final = "is in use and cannot be modified."
_OFFERED: Final = (Title("Enabled", "enabled"), Title("Description", "description", wraps=True))

FLAVOR_PROFILES: Final = FlatNoun(
    type=FlavorProfile,
    schema="FlavorProfile",
    noun="Flavor profile",
    name="flavor_profile",
    word="flavorprofile",
    help="Profiles of flavors (operators).",
    table="flavor_profiles",
    steps="flavorprofiles",
    one="flavorprofile",
    many="flavorprofiles",
    links="flavorprofile_links",
    place="key",
    rule="flavor-profile",
    rights=Rights.OPERATED,
    in_use=_KEPT,
    titles=(Title("Provider", "provider_name"), Title("Data", "flavor_data", wraps=True)),
    list=Verb("List flavor profiles"),
    create=Verb(
        "Create a flavor profile; its provider checks the data",
        {"name": "gold", "provider_name": "amphora", "flavor_data": '{"spare_pool_size": 2}'},
    ),
    show=Verb("Show a flavor profile"),
    update=Verb("Change a flavor profile; its data only while no flavor has it", {"name": "gold"}),
    delete=Verb("Delete a flavor profile that no flavor has"),
)
FLAVORS: Final = FlatNoun(
    type=Flavor,
    schema="Flavor",
    noun="Flavor",
    name="flavor",
    word="flavor",
    help="Flavors of load balancers.",
    table="flavors",
    steps="flavors",
    one="flavor",
    many="flavors",
    place="key",
    rule="flavor",
    rights=Rights.OFFERED,
    in_use=_KEPT,
    titles=_OFFERED,
    list=Verb("List flavors"),
    create=Verb("Create a flavor", {"name": "gold", "flavor_profile_id": _SAMPLE_ID}),
    show=Verb("Show a flavor"),
    update=Verb(
        "Change a flavor's name, description or whether it may be chosen", {"enabled": False}
    ),
    delete=Verb("Delete a flavor that no load balancer has"),
)
ZONE_PROFILES: Final = FlatNoun(
    type=AvailabilityZoneProfile,
    schema="AvailabilityZoneProfile",
    noun="Availability Zone profile",
    name="zone_profile",
    word="azprofile",
    help="Profiles of availability zones (operators).",
    table="availability_zone_profiles",
    steps="availabilityzoneprofiles",
    one="availability_zone_profile",
    many="availability_zone_profiles",
    links="availability_zone_profile_links",
    place="key",
    rule="availability-zone-profile",
    rights=Rights.OPERATED,
    in_use=_KEPT,
    titles=(
        Title("Provider", "provider_name"),
        Title("Data", "availability_zone_data", wraps=True),
    ),
    list=Verb("List availability zone profiles"),
    create=Verb(
        "Create an availability zone profile; its provider checks the data",
        {
            "name": "here",
            "provider_name": "amphora",
            "availability_zone_data": '{"compute_zone": "nova"}',
        },
    ),
    show=Verb("Show an availability zone profile"),
    update=Verb(
        "Change an availability zone profile; its data only while no zone has it", {"name": "here"}
    ),
    delete=Verb("Delete an availability zone profile that no zone has"),
)
# A zone has no id: its name is what users and paths know it by.
ZONES: Final = FlatNoun(
    type=AvailabilityZone,
    schema="AvailabilityZone",
    noun="Availability Zone",
    name="zone",
    word="az",
    help="Availability zones.",
    table="availability_zones",
    steps="availabilityzones",
    one="availability_zone",
    many="availability_zones",
    key="name",
    place="key",
    rule="availability-zone",
    rights=Rights.OFFERED,
    in_use=_KEPT,
    titles=_OFFERED,
    list=Verb("List availability zones"),
    create=Verb(
        "Create an availability zone", {"name": "here", "availability_zone_profile_id": _SAMPLE_ID}
    ),
    show=Verb("Show an availability zone"),
    update=Verb("Change a zone's description or whether it may be chosen", {"enabled": False}),
    delete=Verb("Delete an availability zone that no load balancer has"),
)
AFFINITY_GROUPS: Final = FlatNoun(
    type=AffinityGroup,
    noun="Affinity Group",
    name="affinity_group",
    word="affinity",
    help="Affinity groups: load balancers placed together, or apart.",
    table="affinity_groups",
    steps="affinitygroups",
    one="affinitygroup",
    many="affinitygroups",
    place="affinity_group_id",
    rule="affinity-group",
    rights=Rights.OWNED,
    per_project_max=AFFINITY_GROUPS_PER_PROJECT_MAX,
    titles=(Title("Policy", "policy"), Title("Load balancers", "loadbalancers", refers="lb")),
    list=Verb("List affinity groups"),
    create=Verb(
        "Create a group of load balancers that are placed together, or apart",
        {"name": "apart", "policy": "soft-apolocation"},
    ),
    show=Verb("Show an affinity group"),
    update=Verb("Change an affinity group's name or description", {"name": "apart"}),
    delete=Verb("Delete an affinity group that no load balancer is in"),
)
LOG_TARGETS: Final = FlatNoun(
    type=LogTarget,
    noun="Log Target",
    name="log_target",
    word="logtarget",
    help="Log targets: where access logs go.",
    table="log_targets",
    steps="logtargets",
    one="logtarget",
    many="logtargets",
    place="log_target_id",
    rule="logtarget",
    rights=Rights.OWNED,
    per_project_max=LOG_TARGETS_PER_PROJECT_MAX,
    over_quota="Quota exceeded for resources: ['log_target'].",
    titles=(Title("Type", "type"), Title("URL", "url")),
    list=Verb("List log targets"),
    create=Verb(
        "Create a log target: where access logs go",
        {
            "name": "audit",
            "type": "S3",
            "url": "https://s3.eu-west-1.amazonaws.com",
            "bucket": "access-logs",
            "region": "eu-west-1",
            "credentials": {"access_key": "AKIA...", "secret_key": "..."},
        },
    ),
    show=Verb("Show a log target, and what was sent there"),
    update=Verb("Change a log target; its type stays", {"description": "for the auditors"}),
    delete=Verb("Delete a log target that nothing logs to"),
)
WEBHOOKS: Final = FlatNoun(
    type=Webhook,
    noun="Webhook",
    name="webhook",
    word="webhook",
    help="Webhooks: where events are sent as they happen.",
    table="webhooks",
    steps="webhooks",
    one="webhook",
    many="webhooks",
    place="webhook_id",
    rule="webhook",
    rights=Rights.OWNED,
    per_project_max=WEBHOOKS_PER_PROJECT_MAX,
    over_quota="Quota exceeded for resources: ['webhook'].",
    titles=(
        Title("URL", "url"),
        Title("Status", "status"),
        Title("Why", "reason", wraps=True),
    ),
    list=Verb("List webhooks"),
    create=Verb(
        "Create a webhook: where events are sent as they happen",
        {
            "name": "pager",
            "url": "https://hooks.example.org/colonnade",
            "kinds": ["operating_status", "failed"],
            "secret": "whsec_...",
        },
    ),
    show=Verb("Show a webhook, and what became of its latest messages"),
    update=Verb("Change a webhook, switch it off or on, or replace its secret", {"enabled": True}),
    delete=Verb("Delete a webhook"),
)
FLAT_NOUNS: Final[tuple[FlatNoun[Any], ...]] = (
    FLAVORS,
    FLAVOR_PROFILES,
    ZONES,
    ZONE_PROFILES,
    AFFINITY_GROUPS,
    LOG_TARGETS,
    WEBHOOKS,
)

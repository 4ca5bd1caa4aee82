# SPDX-License-Identifier: Apache-2.0
"""Every noun by its word. A noun without verbs is there to be called by name only."""

from collections.abc import Mapping
from typing import Final

from colonnade.cli.nouns import balancing, catalogue, policies
from colonnade.cli.nouns.description import Noun

_EVERY: Final = (
    balancing.LOAD_BALANCERS,
    balancing.LISTENERS,
    balancing.POOLS,
    balancing.MEMBERS,
    balancing.HEALTH_MONITORS,
    policies.L7_POLICIES,
    policies.L7_RULES,
    catalogue.SECRETS,
    catalogue.FLAVORS,
    catalogue.FLAVOR_PROFILES,
    catalogue.ZONES,
    catalogue.ZONE_PROFILES,
    catalogue.PROVIDERS,
    catalogue.QUOTAS,
    catalogue.AMPHORAE,
    catalogue.AFFINITY_GROUPS,
    catalogue.LOG_TARGETS,
    catalogue.SUBNETS,
    catalogue.NETWORKS,
)
NOUNS: Final[Mapping[str, Noun]] = {noun.word: noun for noun in _EVERY}

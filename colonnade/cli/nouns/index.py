# SPDX-License-Identifier: Apache-2.0
"""Every noun by its word. A noun without verbs is there to be called by name only."""

from collections.abc import Mapping
from typing import Final

from colonnade.cli.nouns import balancing, catalogue
from colonnade.cli.nouns.description import Noun
from colonnade.cli.nouns.flat_words import flat_noun
from colonnade.domain.flat_nouns import FLAT_NOUNS

_EVERY: Final = (
    balancing.LOAD_BALANCERS,
    balancing.LISTENERS,
    balancing.POOLS,
    balancing.MEMBERS,
    balancing.HEALTH_MONITORS,
    balancing.L7_POLICIES,
    balancing.L7_RULES,
    catalogue.SECRETS,
    catalogue.PROVIDERS,
    catalogue.QUOTAS,
    catalogue.AMPHORAE,
    catalogue.SUBNETS,
    catalogue.NETWORKS,
    *(flat_noun(noun) for noun in FLAT_NOUNS),
)
NOUNS: Final[Mapping[str, Noun]] = {noun.word: noun for noun in _EVERY}

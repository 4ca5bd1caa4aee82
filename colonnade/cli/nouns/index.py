# SPDX-License-Identifier: Apache-2.0
"""Every noun by its word. A noun without verbs is there to be called by name only."""

from collections.abc import Mapping
from typing import Final

from colonnade.cli.nouns import balancing, catalogue
from colonnade.cli.nouns.description import Noun
from colonnade.cli.nouns.flat_words import flat_noun
from colonnade.domain import shape
from colonnade.domain.flat_nouns import FLAT_NOUNS

_EVERY: Final = (
    *balancing.NOUNS,
    catalogue.SECRETS,
    catalogue.PROVIDERS,
    catalogue.QUOTAS,
    catalogue.AMPHORAE,
    catalogue.SUBNETS,
    catalogue.NETWORKS,
    *(flat_noun(noun) for noun in FLAT_NOUNS),
)
NOUNS: Final[Mapping[str, Noun]] = {noun.word: noun for noun in _EVERY}
OF_TREE: Final[Mapping[shape.Noun, Noun]] = {noun.of: noun for noun in _EVERY if noun.of}

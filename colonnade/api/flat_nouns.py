# SPDX-License-Identifier: Apache-2.0
"""The routes of all flat nouns. One that is special in nothing needs no line here."""

from collections.abc import Mapping
from typing import Any, Final

from colonnade.api.extras import affinity_groups, log_targets, webhooks
from colonnade.api.http.call import Route
from colonnade.api.operator import profiles
from colonnade.api.resources.flat_routes import Hooks, flat_routes
from colonnade.domain import flat_nouns
from colonnade.domain.flat import FlatNoun
from colonnade.store.catalogue import catalogue
from colonnade.store.extras.affinity import AFFINITY_GROUPS
from colonnade.store.extras.log_targets import LOG_TARGETS
from colonnade.store.extras.webhooks import WEBHOOKS
from colonnade.store.rows.flat_rows import FlatTable

# What is special about a noun's rows.
TABLES: Final[tuple[FlatTable[Any], ...]] = (
    catalogue.FLAVORS,
    catalogue.ZONES,
    AFFINITY_GROUPS,
    LOG_TARGETS,
    WEBHOOKS,
)
# What is special about what is done with it, by its name.
HOOKS: Final[Mapping[str, Hooks[Any]]] = {
    flat_nouns.FLAVORS.name: Hooks(wake=catalogue.wake_spares),
    flat_nouns.FLAVOR_PROFILES.name: Hooks(check=profiles.check_flavor_profile),
    flat_nouns.ZONE_PROFILES.name: Hooks(check=profiles.check_zone_profile),
    flat_nouns.AFFINITY_GROUPS.name: affinity_groups.HOOKS,
    flat_nouns.LOG_TARGETS.name: log_targets.HOOKS,
    flat_nouns.WEBHOOKS.name: webhooks.HOOKS,
}


def _routes(noun: FlatNoun[Any]) -> list[Route]:
    tables = {table.noun.name: table for table in TABLES}
    table = tables.get(noun.name) or FlatTable(noun=noun)
    return flat_routes(table, HOOKS.get(noun.name) or Hooks())


ROUTES = [route for noun in flat_nouns.FLAT_NOUNS for route in _routes(noun)]

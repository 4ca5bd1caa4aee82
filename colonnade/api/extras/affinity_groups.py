# SPDX-License-Identifier: Apache-2.0
"""Affinity groups, as the user API sees them: load balancers to be kept together, or apart.

An extra of ours. A load balancer names its group as it is made, and stays in it.
"""

from typing import Final

from colonnade.api.http.lists import Shown
from colonnade.api.resources.flat_routes import Hooks, shown
from colonnade.api.resources.objects import Named
from colonnade.api.resources.shown import ids
from colonnade.domain.affinity import AffinityGroup
from colonnade.store.rows.flat_rows import Stored


def show(stored: Stored[AffinityGroup]) -> Shown:
    return shown(stored) | {"loadbalancers": ids(stored.facts["loadbalancers"])}


HOOKS: Final = Hooks(answers={"loadbalancers": list[Named]}, shown=show)

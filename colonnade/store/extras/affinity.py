# SPDX-License-Identifier: Apache-2.0
"""Affinity groups as rows: which load balancers are in one is told by the load balancers."""

from typing import Final

from colonnade.domain import flat_nouns
from colonnade.store.rows.flat_rows import FlatTable

_LOAD_BALANCERS: Final = """ARRAY(SELECT lb.id FROM load_balancers lb
    WHERE lb.affinity_group_id = t.id AND NOT lb.deleted ORDER BY lb.created_at, lb.id)"""
AFFINITY_GROUPS: Final = FlatTable(
    noun=flat_nouns.AFFINITY_GROUPS,
    facts={"loadbalancers": _LOAD_BALANCERS},
    filters={"loadbalancers": f"({_LOAD_BALANCERS})::text[]"},
    lists=frozenset({"loadbalancers"}),
)

# SPDX-License-Identifier: Apache-2.0
"""On which hosts an amphora may be that a cluster takes: what affinity groups say, as rows.

For load balancers that share no amphora; for those that do, `seats.py` decides. Where amphorae are
known to run on one host alone, every policy is kept as well as it can be. Invariant: who takes a
spare for a member of a group has the group's row locked, so two of one group do not both take the
same host unseen.
"""

from typing import Final

import msgspec

from colonnade.domain.ids import AmphoraId, ClusterId
from colonnade.domain.seating import APART, STRICT
from colonnade.store.postgres.database import Connection

# More are not told to compute: it is a wish.
AVOIDED_MAX: Final = 50


class Placing(msgspec.Struct, frozen=True, kw_only=True):
    """`hosts`: where the other members of its group are. `name`: the group's, for people."""

    hosts: tuple[str, ...] = ()
    apart: bool = False
    strict: bool = False
    name: str = ""
    policy: str = ""

    @property
    def refusal(self) -> str:
        """Why nothing that is ready may be taken, for its owner."""
        where = "on which no other of its load balancers is" if self.apart else "of the others"
        return (
            f"affinity group '{self.name}' asks for a host {where}, and there is no room on any: "
            f"wait for it, or use a group with the policy soft-{self.policy}"
        )


ANYWHERE: Final = Placing()


async def placing(connection: Connection, cluster_id: ClusterId, group: str | None) -> Placing:
    """For an amphora that the cluster, whose load balancer is in this group, takes in this
    transaction."""
    if group is None:
        return ANYWHERE
    cursor = await connection.execute(
        """SELECT policy, coalesce(nullif(name, ''), id::text) FROM affinity_groups
        WHERE id = %s FOR NO KEY UPDATE""",
        [group],
    )
    row = await cursor.fetchone()
    assert row is not None, "a group in use is not deleted"
    cursor = await connection.execute(
        """SELECT array_agg(DISTINCT a.host) FILTER (WHERE b.affinity_group_id = %(group)s
                AND a.cluster_id <> %(cluster)s),
            count(DISTINCT a.host)
        FROM amphorae a LEFT JOIN load_balancers b ON b.cluster_id = a.cluster_id
        WHERE a.host <> ''""",
        {"group": group, "cluster": cluster_id},
    )
    found = await cursor.fetchone()
    assert found is not None, "a count has one row"
    hosts, several = tuple(found[0] or ()), found[1] > 1
    strict = row[0] in STRICT and bool(hosts) and several
    return Placing(hosts=hosts, apart=row[0] in APART, strict=strict, name=row[1], policy=row[0])


async def avoided(connection: Connection, amphora_id: AmphoraId) -> tuple[str, ...]:
    """Hosts on which this new amphora would be of less use, the worst first: those of clusters that
    wait for one and of load balancers from which these are apart, then those that have spares like
    it."""
    cursor = await connection.execute(
        """WITH waiting AS (SELECT b.cluster_id, g.id AS apart FROM load_balancers b
            JOIN work w ON w.key = 'cluster:' || b.cluster_id
            LEFT JOIN affinity_groups g ON g.id = b.affinity_group_id AND g.policy = ANY(%s)),
        needed AS (SELECT cluster_id FROM waiting UNION SELECT b.cluster_id
            FROM load_balancers b JOIN waiting ON waiting.apart = b.affinity_group_id)
        SELECT a.host FROM amphorae a LEFT JOIN needed ON needed.cluster_id = a.cluster_id
        WHERE a.host <> '' AND a.id <> %s AND (needed.cluster_id IS NOT NULL OR (
            a.state IN ('SPARE', 'BOOTING')
            AND a.flavor = (SELECT flavor FROM amphorae WHERE id = %s)))
        GROUP BY a.host ORDER BY count(needed.cluster_id) DESC, count(*) DESC, a.host LIMIT %s""",
        [list(APART), amphora_id, amphora_id, AVOIDED_MAX],
    )
    return tuple(host for (host,) in await cursor.fetchall())

# SPDX-License-Identifier: Apache-2.0
"""A load balancer comes into an affinity group: what its group has against that, and who moves.

Part of the transaction that writes the change. What can never be as a strict group asks is refused.
Whoever serves where the group does not want it is asked to leave, and serves until another does, as
in every replacement. Invariant: who joins has the group's row locked.
"""

from typing import Final

from colonnade.domain.affinity import AffinityPolicy
from colonnade.domain.errors import Conflict, Unplaceable
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import ClusterId
from colonnade.domain.lifecycle import State
from colonnade.domain.seating import check_together
from colonnade.domain.tree import LoadBalancer
from colonnade.store.fleet import amphora_rows, placing, seats
from colonnade.store.postgres.database import Connection

FRESH_S: Final = 75.0  # heard from since: it may carry something


def asks(tree: LoadBalancer, before: LoadBalancer) -> bool:
    """Whether its group may have something against the change."""
    now = tree.affinity_group_id, tree.flavor_id
    return tree.affinity_group_id is not None and now != (
        before.affinity_group_id,
        before.flavor_id,
    )


async def check(connection: Connection, tree: LoadBalancer) -> None:
    """Raises Conflict when all of its group must be on one amphora and never can be."""
    if tree.affinity_group_id is None:
        return
    cursor = await connection.execute(
        """SELECT policy, coalesce(nullif(name, ''), id::text) FROM affinity_groups
        WHERE id = %s FOR NO KEY UPDATE""",
        [tree.affinity_group_id],
    )
    group = await cursor.fetchone()
    if group is None or group[0] != AffinityPolicy.COLOCATION:
        return
    cursor = await connection.execute(
        """SELECT array_agg(DISTINCT c.flavor), count(*), min(c.per_amphora), max(c.per_amphora)
        FROM load_balancers b JOIN clusters c ON c.id = b.cluster_id
        WHERE b.affinity_group_id = %s AND NOT b.deleted""",
        [tree.affinity_group_id],
    )
    row = await cursor.fetchone()
    assert row is not None, "it is a member itself"
    flavors, members, least, most = row
    if most > 1 and (reason := check_together(group[1], flavors, members, least)):
        raise Conflict(reason)


async def move(connection: Connection, tree: LoadBalancer, before: LoadBalancer) -> None:
    """Those that serve it where its new group does not want it are asked to leave. Raises Conflict
    when there is no room where it must be."""
    if tree.affinity_group_id == before.affinity_group_id or tree.flavor_id != before.flavor_id:
        return  # of another flavor, it moves anyway
    cursor = await connection.execute(
        "SELECT per_amphora > 1 FROM clusters WHERE id = %s", [tree.cluster_id]
    )
    row = await cursor.fetchone()
    try:
        if row is not None and row[0]:
            wrong = await seats.move(connection, tree.cluster_id, FRESH_S)
        else:
            wrong = await _on_wrong_hosts(connection, tree.cluster_id, tree.affinity_group_id)
    except Unplaceable as error:
        raise Conflict(error.public) from error
    for amphora in wrong:
        await seats.ask_to_leave_alone(connection, amphora)


async def _on_wrong_hosts(
    connection: Connection, cluster_id: ClusterId, group: str | None
) -> list[Amphora]:
    """Of a load balancer that shares no amphora."""
    place = await placing.placing(connection, cluster_id, group)
    if not place.strict:
        return []
    cursor = await connection.execute(
        """SELECT id FROM amphorae WHERE cluster_id = %s AND host <> ''
          AND (host = ANY(%s)) = %s""",
        [cluster_id, list(place.hosts), place.apart],
    )
    rows = await amphora_rows.those(connection, [row[0] for row in await cursor.fetchall()])
    return [amphora for amphora in rows if amphora.state is State.SERVING]

# SPDX-License-Identifier: Apache-2.0
"""Seats on amphorae that carry several load balancers: where new ones are, and when an amphora that
carried some is no longer needed.

A seat is a row of its own, made for one cluster, and lives like an amphora's; `domain/seating.py`
decides where. Invariant: whoever makes a seat has its flavor locked, its group's row, and the row
of the amphora that carries it; so none gets more than it may have, and none ends as one is made.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from colonnade.domain import seating
from colonnade.domain.affinity import AffinityPolicy
from colonnade.domain.errors import OutOfCapacity, Unplaceable
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId, ClusterId, new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.domain.seating import Carrier, Group, Wish
from colonnade.store.fleet import amphora_rows, clusters
from colonnade.store.postgres.database import Connection
from colonnade.store.queue import work

AT_ONCE_MAX = 100  # in one pass; the others wait for the next
_NOT_LENT: Final = (State.BOOTING, State.SPARE)  # of seats: made for a cluster that waits for them

SealedKey = Callable[[AmphoraId], bytes]


async def allot(connection: Connection, flavor: str, key: SealedKey, fresh_s: float) -> int:
    """Make the seats that clusters of this flavor wait for, where there is room. How many further
    amphorae those need for which there was none. The caller has locked the flavor."""
    waiting = await _waiting(connection, flavor)
    carriers = await _carriers(connection, flavor, fresh_s) if waiting else {}
    unmet: list[Wish] = []
    for cluster_id, missing in waiting:
        for _ in range(missing):
            wish = await _wish(connection, cluster_id)
            if wish is None:
                break
            try:
                chosen = seating.seat(wish, list(carriers.values()))
            except Unplaceable as error:
                await _record_refusal(connection, cluster_id, error)
                if wish.group is not None and wish.group.policy in seating.APART:
                    unmet.append(wish)
                continue
            except OutOfCapacity:
                unmet.append(wish)
                continue
            carriers[chosen.id] = await _take(connection, wish, chosen, key)
    return seating.amphorae_needed(unmet) if unmet else 0


async def move(connection: Connection, cluster_id: ClusterId, fresh_s: float) -> list[Amphora]:
    """Seats of a load balancer that its group wants elsewhere, now that it has joined. Raises
    Unplaceable when there is no room where it must be."""
    wish = await _wish(connection, cluster_id)
    assert wish is not None, "who joins is there, and its row is locked"
    carriers = await _carriers(connection, wish.flavor, fresh_s)
    found = []
    for one in await amphora_rows.of_cluster(connection, cluster_id):
        present = None if one.carrier_id is None else carriers.get(one.carrier_id)
        if one.state in (*_NOT_LENT, State.SERVING) and present is not None:
            alone = replace(wish, own=wish.own - {present.id}, own_hosts=frozenset())
            others = [c for c in carriers.values() if c.id not in wish.own]
            if seating.is_to_move(alone, replace(present, taken=present.taken - 1), others):
                found.append(one)
    return found


async def hold(connection: Connection, amphora_ids: Iterable[AmphoraId]) -> None:
    """Until the transaction ends, nobody else changes these rows. Before any of them is changed,
    for each change also writes a key that all of a flavor have in common."""
    await connection.execute(
        "SELECT FROM amphorae WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE",
        [list(amphora_ids)],
    )


async def release_if_empty(connection: Connection, carrier_id: AmphoraId) -> None:
    """The amphora ends when its last seat is gone. The caller holds its row."""
    cursor = await connection.execute(
        "SELECT FROM amphorae WHERE carrier_id = %s LIMIT 1", [carrier_id]
    )
    carrier = await amphora_rows.amphora(connection, carrier_id)
    is_empty = await cursor.fetchone() is None
    if carrier is not None and is_empty and carrier.state in (State.CARRYING, State.LEAVING):
        await amphora_rows.advance(connection, carrier, Event.RELEASED)


async def ask_to_leave(connection: Connection, carrier: Amphora) -> None:
    """All that it carries is served elsewhere from then on, and nothing new is put there."""
    await hold(connection, [carrier.id, *(seat.id for seat in await on(connection, [carrier.id]))])
    await amphora_rows.advance(connection, carrier, Event.ASKED_TO_LEAVE)
    for seat in await on(connection, [carrier.id]):
        await ask_to_leave_alone(connection, seat)
    await release_if_empty(connection, carrier.id)


async def ask_to_leave_alone(connection: Connection, seat: Amphora) -> None:
    """Where others stay. A seat that is not lent yet would serve, once it is, where it may not
    stay: it ends now. Raises Contended when it is no longer as it was read."""
    if seat.state is State.SERVING:
        await amphora_rows.advance(connection, seat, Event.ASKED_TO_LEAVE)
    elif seat.state in _NOT_LENT:
        await amphora_rows.advance(connection, seat, Event.RELEASED)


async def on(connection: Connection, carriers: Iterable[AmphoraId]) -> list[Amphora]:
    """The seats that these amphorae carry."""
    cursor = await connection.execute(
        "SELECT id FROM amphorae WHERE carrier_id = ANY(%s::uuid[])", [list(carriers)]
    )
    return await amphora_rows.those(connection, [row[0] for row in await cursor.fetchall()])


async def _waiting(connection: Connection, flavor: str) -> list[tuple[ClusterId, int]]:
    """Clusters with work to do that share amphorae, and how many seats they lack."""
    cursor = await connection.execute(
        """SELECT c.id, c.size - (SELECT count(*) FROM amphorae a WHERE a.cluster_id = c.id
                AND a.flavor = c.flavor AND a.state IN ('BOOTING', 'SPARE', 'SERVING')) AS missing
        FROM work w JOIN clusters c ON w.key = 'cluster:' || c.id
        WHERE c.flavor = %s AND c.per_amphora > 1 AND NOT c.deleted ORDER BY c.id""",
        [flavor],
    )
    rows = [(ClusterId(row[0]), row[1]) for row in await cursor.fetchall() if row[1] > 0]
    return rows[:AT_ONCE_MAX]


async def _carriers(
    connection: Connection, flavor: str, fresh_s: float
) -> dict[AmphoraId, Carrier]:
    """Those with seats, as long as they are not outdated, and spares that could have some."""
    cursor = await connection.execute(
        """SELECT a.id, a.host, a.project_id,
            (SELECT count(*) FROM amphorae s WHERE s.carrier_id = a.id), a.outdated <> ''
        FROM amphorae a JOIN heartbeats h ON h.amphora_id = a.id
        WHERE a.flavor = %s AND a.cluster_id IS NULL
          AND (a.state = 'SPARE' OR a.state = 'CARRYING' AND a.outdated = '')
          AND h.seen_at > now() - make_interval(secs => %s)
        FOR UPDATE OF a""",
        [flavor, fresh_s],
    )
    names = Carrier.__struct_fields__
    found = [Carrier(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]
    return {carrier.id: carrier for carrier in found}


async def _wish(connection: Connection, cluster_id: ClusterId) -> Wish | None:
    """None when the cluster is being deleted. It does not begin to be before a seat that is made
    for it is seen by all."""
    cursor = await connection.execute(
        """SELECT b.project_id, c.flavor, c.per_amphora, b.affinity_group_id,
            ARRAY(SELECT carrier_id::text FROM amphorae
                WHERE cluster_id = c.id AND carrier_id IS NOT NULL),
            ARRAY(SELECT host FROM amphorae WHERE cluster_id = c.id
                AND state IN ('BOOTING', 'SPARE', 'SERVING')),
            (SELECT count(DISTINCT host) > 1 FROM amphorae WHERE host <> '')
        FROM clusters c JOIN load_balancers b ON b.cluster_id = c.id
        WHERE c.id = %s AND NOT c.deleted FOR NO KEY UPDATE OF c""",
        [cluster_id],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return Wish(
        cluster_id=cluster_id,
        project_id=row[0],
        flavor=row[1],
        per_amphora=row[2],
        own=frozenset(row[4]),
        own_hosts=frozenset(row[5]),
        group=await _group(connection, cluster_id, row[3]) if row[3] else None,
        several_hosts=row[6],
    )


async def _group(connection: Connection, cluster_id: ClusterId, group: str) -> Group:
    """To be beside others, one is where they are to stay; to be apart, nowhere where they are."""
    cursor = await connection.execute(
        """SELECT policy, coalesce(nullif(name, ''), id::text) FROM affinity_groups
        WHERE id = %s FOR NO KEY UPDATE""",
        [group],
    )
    row = await cursor.fetchone()
    assert row is not None, "a group in use is not deleted"
    policy = AffinityPolicy(row[0])
    cursor = await connection.execute(
        """SELECT coalesce(a.carrier_id, a.id)::text, a.host
        FROM load_balancers b JOIN amphorae a ON a.cluster_id = b.cluster_id
        LEFT JOIN amphorae k ON k.id = a.carrier_id
        WHERE b.affinity_group_id = %s AND b.cluster_id <> %s AND (%s
            OR (a.state IN ('BOOTING', 'SPARE', 'SERVING') AND k.state = 'CARRYING'))""",
        [group, cluster_id, policy in seating.APART],
    )
    others = await cursor.fetchall()
    members = await _number(connection, group)
    return Group(
        name=row[1],
        policy=policy,
        members=members,
        carriers=frozenset(row[0] for row in others),
        hosts=frozenset(row[1] for row in others if row[1]),
    )


async def _number(connection: Connection, group: str) -> int:
    cursor = await connection.execute(
        "SELECT count(*) FROM load_balancers WHERE affinity_group_id = %s AND NOT deleted", [group]
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _take(connection: Connection, wish: Wish, chosen: Carrier, key: SealedKey) -> Carrier:
    if chosen.project_id is None:
        spare = await amphora_rows.amphora(connection, chosen.id)
        assert spare is not None, "its row is locked"
        await connection.execute(
            "UPDATE amphorae SET project_id = %s WHERE id = %s", [wish.project_id, chosen.id]
        )
        await amphora_rows.advance(connection, spare, Event.OPENED)
    amphora_id = AmphoraId(new_id())
    await connection.execute(
        """INSERT INTO amphorae (id, state, flavor, heartbeat_key, cluster_id, carrier_id, host)
        VALUES (%s, 'BOOTING', %s, %s, %s, %s, %s)""",
        [amphora_id, wish.flavor, key(amphora_id), wish.cluster_id, chosen.id, chosen.host],
    )
    await work.mark(connection, f"amphora:{amphora_id}")
    return Carrier(
        id=chosen.id,
        host=chosen.host,
        project_id=wish.project_id,
        taken=chosen.taken + 1,
        is_outdated=chosen.is_outdated,
    )


async def _record_refusal(
    connection: Connection, cluster_id: ClusterId, error: Unplaceable
) -> None:
    """For the owner, unless it is served, and only waits to be served elsewhere."""
    cursor = await connection.execute(
        """SELECT generation FROM clusters c WHERE id = %s AND NOT EXISTS (
            SELECT FROM amphorae a WHERE a.cluster_id = c.id AND a.applied > 0
              AND a.state IN ('SERVING', 'LEAVING'))""",
        [cluster_id],
    )
    row = await cursor.fetchone()
    if row is not None:
        failure = clusters.Failure(
            code=type(error).__name__, message=error.public, at=datetime.now(UTC)
        )
        await clusters.record_failure(connection, cluster_id, row[0], failure)

# SPDX-License-Identifier: Apache-2.0
"""Amphorae as rows: their births, their states, who serves which cluster and how far.

A state is written only where the state that was read is still there; otherwise `Contended`. The
allowed steps are those of `domain/lifecycle.py`. What a state means for drivers is not known here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from colonnade.domain import lifecycle
from colonnade.domain.errors import Broken, Contended, OutOfCapacity, Unplaceable
from colonnade.domain.fleet import Amphora, Role, Topology
from colonnade.domain.ids import AmphoraId, ClusterId, PortId
from colonnade.domain.lifecycle import State
from colonnade.store.fleet import clusters, pairs, placing
from colonnade.store.postgres.database import Connection
from colonnade.store.queue import events, work

_COLUMNS: Final = (
    "id, state, flavor, cluster_id, lb_network_ip, lb_port_id, applied, created_at,"
    " cert_expiration, issuer, authorities, agent_version, born_by, image_tag, engine, outdated,"
    " outdated_since, role, peer_id, vrrp_priority, carrier_id"
)
BELIEVED_S: Final = 3.0
# A birth costs a second of processor time, which whoever takes over now needs more; a cluster that
# finds no spare asks for one at once.
_TAKEN_OVER: Final = (State.SERVING, State.LEAVING, State.FAILED)
_REPLACED_AFTER_S: Final = dict.fromkeys(State, 0.0) | dict.fromkeys(_TAKEN_OVER, 1.0)
_STATES: Final = frozenset(State)
_ROLES: Final = frozenset(Role)


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    amphora_id: AmphoraId
    sequence: int
    generation: int
    load: float = 0.0
    age_s: float = 0.0  # since it was heard
    receivers: int = 0  # that its amphora speaks to in turn; 0: it did not say


async def insert(connection: Connection, amphora: Amphora, sealed_key: bytes) -> None:
    """A new one, not yet made anywhere, and the work to make it."""
    await connection.execute(
        "INSERT INTO amphorae (id, state, flavor, heartbeat_key) VALUES (%s, %s, %s, %s)",
        [amphora.id, amphora.state, amphora.flavor, sealed_key],
    )
    await work.mark(connection, f"amphora:{amphora.id}")


async def amphora(connection: Connection, amphora_id: AmphoraId) -> Amphora | None:
    found = await _select(connection, "id = %s", amphora_id)
    return found[0] if found else None


async def of_cluster(connection: Connection, cluster_id: ClusterId) -> list[Amphora]:
    """All that the cluster has or had and that are not gone, the oldest first."""
    return await _select(connection, "cluster_id = %s", cluster_id)


async def of_flavor(connection: Connection, flavor: str) -> list[Amphora]:
    """Those of a flavor that no cluster has, the oldest first."""
    return await _select(
        connection, "flavor = %s AND cluster_id IS NULL AND carrier_id IS NULL", flavor
    )


async def everyone(connection: Connection) -> list[Amphora]:
    return await _select(connection, "true")


async def living(connection: Connection) -> list[Amphora]:
    """Those that are ready, carry others, or serve."""
    return await _select(connection, "state IN ('SPARE', 'CARRYING', 'SERVING', 'LEAVING')")


async def sealed_key(connection: Connection, amphora_id: AmphoraId) -> bytes | None:
    """Its heartbeat key, sealed for its id."""
    cursor = await connection.execute(
        "SELECT heartbeat_key FROM amphorae WHERE id = %s", [amphora_id]
    )
    row = await cursor.fetchone()
    return bytes(row[0]) if row is not None else None


async def record_birth(connection: Connection, amphora: Amphora, port: tuple[PortId, str]) -> None:
    """Its LB network port and address, and what it is made of. It boots from now on: what held it
    up before takes nothing from its time to be heard."""
    made_of = [amphora.born_by, amphora.image_tag, amphora.engine]
    await connection.execute(
        """UPDATE amphorae SET lb_port_id = %s, lb_network_ip = %s, state_since = now(),
            born_by = %s, image_tag = %s, engine = %s
        WHERE id = %s""",
        [*port, *made_of, amphora.id],
    )


async def record_certificate(
    connection: Connection, amphora_id: AmphoraId, expires: float, issuer: str, authorities: str
) -> None:
    """The certificate that it has: its end in seconds since 1970, the name of its authority, and
    a digest of the authorities that the amphora trusts."""
    await connection.execute(
        """UPDATE amphorae SET cert_expiration = to_timestamp(%s), issuer = %s, authorities = %s
        WHERE id = %s""",
        [expires, issuer, authorities, amphora_id],
    )


async def advance(
    connection: Connection, amphora: Amphora, event: lifecycle.Event, why: str = ""
) -> Amphora:
    """The amphora after the event. Raises Contended when it is no longer as it was read."""
    after = replace(amphora, state=lifecycle.advance(amphora.state, event))
    if after.state is State.GONE:
        cursor = await connection.execute(
            "DELETE FROM amphorae WHERE id = %s AND state = %s RETURNING id",
            [amphora.id, amphora.state],
        )
    else:
        cursor = await connection.execute(
            "UPDATE amphorae SET state = %s, state_since = now() WHERE id = %s AND state = %s"
            " RETURNING id",
            [after.state, amphora.id, amphora.state],
        )
    if await cursor.fetchone() is None:
        raise Contended(f"amphora {amphora.id} is no longer {amphora.state}")
    await _tell(connection, after, event, why)
    return after


async def lend_spare(
    connection: Connection, cluster_id: ClusterId, topology: Topology, fresh_s: float
) -> Amphora | None:
    """A spare that was heard from in the last `fresh_s`, serving from now on; one that is not
    outdated, if there is any, and where its affinity group wants it. None when the cluster has all
    that its topology needs. Raises OutOfCapacity when no spare is ready, and Unplaceable when none
    that is may be taken."""
    cursor = await connection.execute(
        "SELECT flavor, amphorae, (SELECT affinity_group_id FROM load_balancers"
        " WHERE cluster_id = c.id AND NOT deleted LIMIT 1),"
        " EXISTS (SELECT FROM amphorae a WHERE a.state = 'SPARE' AND a.flavor = c.flavor),"
        " per_amphora > 1"
        " FROM clusters c WHERE id = %s AND NOT deleted FOR UPDATE",
        [cluster_id],
    )
    row = await cursor.fetchone()
    # Nothing takes the place of an amphora that may answer for a VIP: neither of one that serves,
    # nor of one that failed and is not fenced. One that leaves gives its place away.
    states = [State.SERVING.value, State.FAILED.value]
    holding = await _select(connection, "cluster_id = %s AND state = ANY(%s)", cluster_id, states)
    if row is None or len(holding) >= topology.size(row[1]):
        return None
    shares = row[4]  # its seats are made for it, where its group wants them
    place = await placing.placing(connection, cluster_id, None if shares else row[2])
    # The halves of a pair on different hosts, where there is a choice.
    cursor = await connection.execute(
        """SELECT a.id FROM amphorae a JOIN heartbeats h ON h.amphora_id = a.id
        WHERE a.state = 'SPARE' AND a.flavor = %(flavor)s
          AND a.cluster_id IS NOT DISTINCT FROM %(seats_of)s
          AND h.seen_at > now() - make_interval(secs => %(fresh_s)s)
          AND (NOT %(strict)s OR (a.host <> '' AND (a.host = ANY(%(hosts)s)) <> %(apart)s))
        ORDER BY (a.host = ANY(%(hosts)s)) = %(apart)s, a.outdated <> '',
            a.host IN (SELECT host FROM amphorae WHERE cluster_id = %(cluster)s),
            a.created_at, a.id LIMIT 1 FOR UPDATE OF a SKIP LOCKED""",
        {
            "flavor": row[0],
            "fresh_s": fresh_s,
            "cluster": cluster_id,
            "seats_of": cluster_id if shares else None,
            "hosts": list(place.hosts),
            "apart": place.apart,
            "strict": place.strict,
        },
    )
    spare = await cursor.fetchone()
    if spare is None:
        if place.strict and row[3]:
            raise Unplaceable(place.refusal)
        raise OutOfCapacity(f"no spare amphora of flavor {row[0]} is ready")
    await connection.execute(
        """UPDATE amphorae SET state = 'SERVING', cluster_id = %s, applied = 0, state_since = now()
        WHERE id = %s""",
        [cluster_id, spare[0]],
    )
    if topology is Topology.ACTIVE_STANDBY:
        await pairs.give_priority(connection, spare[0])
    (lent,) = await _select(connection, "id = %s", spare[0])
    await _tell(connection, lent, lifecycle.Event.LENT)
    return lent


async def record_applied(connection: Connection, amphora: Amphora, generation: int) -> None:
    """It answered for this generation. Raises Contended when it no longer serves its cluster,
    Broken when the cluster never had that generation."""
    cursor = await connection.execute(
        """UPDATE amphorae a SET applied = greatest(applied, %(generation)s), applied_at = now(),
            state_since = CASE WHEN applied = 0 AND state = 'SERVING' THEN now()
                ELSE state_since END
        FROM clusters c WHERE c.id = a.cluster_id
          AND a.id = %(id)s AND state IN ('SERVING', 'LEAVING') AND cluster_id = %(cluster)s
        RETURNING c.generation""",
        {"id": amphora.id, "cluster": amphora.cluster_id, "generation": generation},
    )
    row = await cursor.fetchone()
    if row is None:
        raise Contended(f"amphora {amphora.id} no longer serves cluster {amphora.cluster_id}")
    if generation > row[0]:
        raise Broken(
            "an amphora says that it serves a newer configuration than there is",
            detail=f"{amphora.id}: generation {generation}, the newest is {row[0]}",
        )
    assert amphora.cluster_id is not None
    await clusters.record_lowest(connection, amphora.cluster_id)


async def record_heartbeats(connection: Connection, batch: Sequence[Heartbeat]) -> None:
    """The newest heartbeat of each amphora named. Older sequences and strangers change nothing.
    A cluster one of whose amphorae does not serve what it should is marked."""
    batch = sorted(batch, key=lambda heartbeat: heartbeat.amphora_id)  # no deadlocks between two
    # One that serves less than it answered for has forgotten, because its agent began anew; one
    # that serves more has fetched it by itself. A heartbeat may have been sent before the answer,
    # so a fresh answer is believed for a while. A generation that its cluster never had is none.
    cursor = await connection.execute(
        """WITH heard AS (
            INSERT INTO heartbeats AS h
                (amphora_id, seen_at, sequence, generation, load, receivers)
            SELECT a.id, now() - make_interval(secs => n.age_s), n.sequence, n.generation,
                n.load, n.receivers
            FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::real[], %s::real[],
                    %s::smallint[])
                AS n (id, sequence, generation, load, age_s, receivers)
                JOIN amphorae a ON a.id = n.id
            ON CONFLICT (amphora_id) DO UPDATE SET seen_at = EXCLUDED.seen_at,
                sequence = EXCLUDED.sequence, generation = EXCLUDED.generation,
                load = EXCLUDED.load, receivers = EXCLUDED.receivers
            WHERE h.sequence < EXCLUDED.sequence
            RETURNING amphora_id, generation
        )
        UPDATE amphorae a SET applied = least(a.applied, heard.generation)
        FROM heard, clusters c
        WHERE heard.amphora_id = a.id AND heard.generation <> a.applied
          AND a.state IN ('SERVING', 'LEAVING')
          AND c.id = a.cluster_id AND least(heard.generation, c.generation) <> a.applied
          AND a.applied_at < now() - make_interval(secs => %s)
        RETURNING a.cluster_id""",
        [
            *(
                _array(getattr(heartbeat, column) for heartbeat in batch)
                for column in ("amphora_id", "sequence", "generation", "load", "age_s", "receivers")
            ),
            BELIEVED_S,
        ],
    )
    for (cluster_id,) in await cursor.fetchall():
        await clusters.record_lowest(connection, cluster_id)
        await work.mark(connection, f"cluster:{cluster_id}")


def _array(values: Iterable[str | float]) -> str:
    """Of ids and numbers, as PostgreSQL reads it: a quarter of what it takes one by one."""
    return "{" + ",".join(map(str, values)) + "}"


async def first_heartbeat(connection: Connection, amphora_ids: Sequence[AmphoraId]) -> None:
    """Those of them that were booting are spares from now on."""
    booting = await _select(
        connection, "id = ANY(%s::uuid[]) AND state = 'BOOTING'", list(amphora_ids)
    )
    for amphora in booting:
        await advance(connection, amphora, lifecycle.Event.FIRST_HEARTBEAT)
    for flavor in {amphora.flavor for amphora in booting}:
        await wake_waiting(connection, flavor)


async def silent_births(connection: Connection, boot_s: float) -> list[Amphora]:
    """Those that should have been heard from for the first time and were not."""
    return await _select(
        connection,
        """id IN (SELECT a.id FROM amphorae a LEFT JOIN heartbeats h ON h.amphora_id = a.id
            WHERE a.state = 'BOOTING'
              AND greatest(h.seen_at, a.state_since) < now() - make_interval(secs => %s))""",
        boot_s,
    )


async def those(connection: Connection, amphora_ids: Sequence[AmphoraId]) -> list[Amphora]:
    """Of these ids, the ones there are."""
    return await _select(connection, "id = ANY(%s::uuid[])", list(amphora_ids))


async def record_hosts(connection: Connection, hosts: Mapping[AmphoraId, str]) -> None:
    """Where compute says that each runs."""
    await connection.execute(
        """UPDATE amphorae a SET host = n.host FROM unnest(%s::uuid[], %s::text[]) AS n (id, host)
        WHERE a.id = n.id AND a.host <> n.host""",
        [list(hosts), list(hosts.values())],
    )


async def forget_applied(connection: Connection, amphora: Amphora) -> None:
    """What it answered for no longer holds, so it will be asked again."""
    await connection.execute(
        "UPDATE amphorae SET applied = 0 WHERE id = %s AND state IN ('SERVING', 'LEAVING')",
        [amphora.id],
    )
    if amphora.cluster_id is not None:
        await clusters.record_lowest(connection, amphora.cluster_id)


async def lock_flavor(connection: Connection, flavor: str) -> None:
    """Until the transaction ends, nobody else counts and adds spares of this flavor."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"spares:{flavor}"])


async def ask_for_spare(connection: Connection, flavor: str) -> None:
    """Somebody waits for one."""
    await work.mark(connection, f"spares:{flavor}")


async def unmet_demand(connection: Connection, flavor: str) -> int:
    """How many amphorae the clusters that wait for one still miss."""
    cursor = await connection.execute(
        f"""SELECT coalesce(sum(greatest(0, c.size - c.held)), 0)::int
        FROM ({_WAITING}) c WHERE c.flavor = %s""",  # noqa: S608
        [flavor],
    )
    (missing,) = await cursor.fetchone() or (0,)
    return int(missing)


async def wake_waiting(connection: Connection, flavor: str) -> None:
    """A spare is ready: clusters that wait for one look again now."""
    cursor = await connection.execute(
        f"SELECT c.id FROM ({_WAITING}) c WHERE c.flavor = %s ORDER BY c.id",  # noqa: S608
        [flavor],
    )
    for (cluster_id,) in await cursor.fetchall():
        await work.mark(connection, f"cluster:{cluster_id}")


# Only clusters with work to do: others have what they need, or need no amphora at all.
_WAITING: Final = """
    SELECT c.id, c.flavor, c.size,
        (SELECT count(*) FROM amphorae a WHERE a.cluster_id = c.id AND a.state = 'SERVING') AS held
    FROM work w JOIN clusters c ON w.key = 'cluster:' || c.id
    WHERE NOT c.deleted AND NOT EXISTS (
        SELECT 1 FROM amphorae a WHERE a.cluster_id = c.id AND a.state = 'SERVING'
        HAVING count(*) >= c.size)"""


async def _tell(
    connection: Connection, amphora: Amphora, event: lifecycle.Event, why: str = ""
) -> None:
    """Whoever may have to act on the step is woken, and people may read of it."""
    if amphora.cluster_id is not None:
        await clusters.record_lowest(connection, amphora.cluster_id)
        # The other steps are taken by whoever works on the cluster.
        if amphora.state in (State.LEAVING, State.FAILED, State.GONE):
            await work.mark(connection, f"cluster:{amphora.cluster_id}")
    unclaimed = amphora.state is State.FAILED and amphora.cluster_id is None
    if amphora.state is State.RETIRING or unclaimed:
        await work.mark(connection, f"amphora:{amphora.id}")
    await work.mark(connection, f"spares:{amphora.flavor}", _REPLACED_AFTER_S[amphora.state])
    serving = f" for cluster {amphora.cluster_id}" if amphora.cluster_id is not None else ""
    await events.record(
        connection,
        events.Event(
            object_kind="amphora",
            object_id=amphora.id,
            kind=amphora.state.value.lower(),
            message=f"amphora {event.value}{serving}{why and ': '}{why}",
        ),
    )


async def _select(connection: Connection, where: str, *values: Any) -> list[Amphora]:
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM amphorae WHERE {where} ORDER BY created_at, id",  # noqa: S608
        values,
    )
    names = _COLUMNS.split(", ")
    rows = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
    return [_read(row) for row in rows if row["state"] in _STATES]  # others a newer release knows


def _read(row: dict[str, Any]) -> Amphora:
    role = Role(row["role"]) if row["role"] in _ROLES else None
    return Amphora(**row | {"state": State(row["state"]), "role": role})

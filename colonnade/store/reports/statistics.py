# SPDX-License-Identifier: Apache-2.0
"""Traffic counters of listeners, as told by the amphorae that serve them.

Counters are absolute, so a lost message loses nothing and a repeated one adds nothing. Totals
never go back, and those of amphorae that are gone stay in the sums. An amphora can tell only of
listeners of the cluster that it serves.
"""

from collections.abc import Sequence

import msgspec

from colonnade.domain.ids import AmphoraId, ListenerId
from colonnade.store.postgres.database import Connection
from colonnade.store.trees.records import Statistics


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    amphora_id: AmphoraId
    listener_id: ListenerId
    counters: Statistics


async def record(connection: Connection, batch: Sequence[Counted]) -> None:
    """The newest counters of each (amphora, listener), each pair at most once in the batch."""
    if not batch:
        return
    batch = sorted(batch, key=lambda counted: (counted.listener_id, counted.amphora_id))
    names = Statistics.__struct_fields__
    columns = [[getattr(counted.counters, name) for counted in batch] for name in names]
    await connection.execute(
        """INSERT INTO statistics AS s (listener_id, amphora_id, active_connections, bytes_in,
            bytes_out, request_errors, total_connections)
        SELECT l.id, a.id, n.active, n.bytes_in, n.bytes_out, n.errors, n.total
        FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[],
                %s::bigint[], %s::bigint[])
            AS n (listener, amphora, active, bytes_in, bytes_out, errors, total)
        JOIN listeners l ON l.id = n.listener
        JOIN load_balancers lb ON lb.id = l.load_balancer_id
        JOIN amphorae a ON a.id = n.amphora AND a.cluster_id = lb.cluster_id
        ON CONFLICT (listener_id, amphora_id) DO UPDATE SET at = now(),
            active_connections = EXCLUDED.active_connections,
            bytes_in = greatest(s.bytes_in, EXCLUDED.bytes_in),
            bytes_out = greatest(s.bytes_out, EXCLUDED.bytes_out),
            request_errors = greatest(s.request_errors, EXCLUDED.request_errors),
            total_connections = greatest(s.total_connections, EXCLUDED.total_connections)""",
        [[c.listener_id for c in batch], [c.amphora_id for c in batch], *columns],
    )

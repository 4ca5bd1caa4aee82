# SPDX-License-Identifier: Apache-2.0
"""Amphorae as operators see them, each with the load balancer it serves. Writes nothing."""

from datetime import datetime

import msgspec

from colonnade.domain.lifecycle import State
from colonnade.store.database import Connection


class AmphoraRecord(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    state: State
    flavor: str
    lb_network_ip: str | None
    cert_expiration: datetime | None
    created_at: datetime
    state_since: datetime
    load_balancer_id: str | None
    vip_address: str | None
    vip_port_id: str | None


async def find(connection: Connection) -> list[AmphoraRecord]:
    """All that are not gone, the oldest first."""
    cursor = await connection.execute(
        """SELECT a.id, a.state, a.flavor, a.lb_network_ip, a.cert_expiration, a.created_at,
            a.state_since, lb.id, lb.body -> 'vip' ->> 'address', lb.body -> 'vip' ->> 'port_id'
        FROM amphorae a LEFT JOIN load_balancers lb ON lb.cluster_id = a.cluster_id
        WHERE a.state <> 'GONE' ORDER BY a.created_at, a.id, lb.id"""
    )
    names = AmphoraRecord.__struct_fields__
    return [
        AmphoraRecord(**dict(zip(names, (row[0], State(row[1]), *row[2:]), strict=True)))
        for row in await cursor.fetchall()
    ]

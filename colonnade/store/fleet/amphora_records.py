# SPDX-License-Identifier: Apache-2.0
"""Amphorae as operators see them, each with the load balancer it serves. Writes nothing.

The wire contract has other words for an amphora's state than its lifecycle; the table below is
the one place where they meet.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from colonnade.domain.errors import NotFound
from colonnade.domain.lifecycle import State
from colonnade.store.fleet import pairs
from colonnade.store.postgres import listing
from colonnade.store.postgres.database import Connection
from colonnade.store.postgres.listing import Source, Wanted

STATUSES: Final[Mapping[State, str]] = {
    State.BOOTING: "BOOTING",
    State.SPARE: "READY",
    State.CARRYING: "ALLOCATED",
    State.SERVING: "ALLOCATED",
    State.LEAVING: "ERROR",
    State.FAILED: "ERROR",
    State.RETIRING: "PENDING_DELETE",
    State.GONE: "DELETED",
}


VRRP_ID: Final = 1  # of every pair: the halves speak with each other alone


class AmphoraRecord(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    state: State
    flavor: str
    cluster_id: str | None
    lb_network_ip: str | None
    cert_expiration: datetime | None
    created_at: datetime
    state_since: datetime
    load_balancer_id: str | None
    vip_address: str | None
    vip_port_id: str | None
    agent_version: str | None
    image_tag: str | None
    outdated: str
    role: str
    vrrp_ip: str | None
    vrrp_port_id: str | None
    vrrp_priority: int | None
    compute_id: str  # of a seat, the amphora that carries it
    is_noop: bool = False  # stands for an amphora where nothing is served


class AmphoraStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one listener on one amphora, under the names of the wire contract."""

    id: str
    listener_id: str
    loadbalancer_id: str
    active_connections: int
    bytes_in: int
    bytes_out: int
    request_errors: int
    total_connections: int


def _serving(expression: str) -> str:
    return f"coalesce(CASE WHEN t.state = 'SERVING' THEN {expression} END, '')"


_STATUS: Final = " ".join(f"WHEN '{state}' THEN '{word}'" for state, word in STATUSES.items())
_ADDRESS, _PORT = "lb.body -> 'vip' ->> 'address'", "lb.body -> 'vip' ->> 'port_id'"
# A constant is nothing to sort by.
_NEVER: Final = ("vrrp_interface", "cached_zone", "image_id")

# Those of noop clusters have an address of TEST-NET-1 (RFC 5737).
_ALL: Final = f"""SELECT id, state, flavor, cluster_id, lb_network_ip, cert_expiration, created_at,
        state_since, agent_version, image_tag, outdated, false AS is_noop,
        vrrp_ip, vrrp_port_id, vrrp_priority, coalesce(carrier_id, id) AS compute_id,
        CASE WHEN vrrp_priority IS NULL THEN 'STANDALONE'
            WHEN role = 'MASTER' AND NOT {pairs.OTHER_HOLDS} THEN 'MASTER' ELSE 'BACKUP' END AS role
        FROM amphorae a
    UNION ALL SELECT noop_amphora_id, 'SERVING', flavor, id, '192.0.2.1', NULL, noop_amphora_since,
        noop_amphora_since, NULL, NULL, '', true, NULL, NULL, NULL, noop_amphora_id,
        'STANDALONE'
        FROM clusters WHERE noop_amphora_id IS NOT NULL AND NOT deleted"""  # noqa: S608 - our own
# An amphora alone has the VIP's own port.
_VRRP_IP: Final = f"coalesce(t.vrrp_ip, {_ADDRESS})"
_VRRP_PORT: Final = f"coalesce(t.vrrp_port_id::text, {_PORT})"

SOURCE: Final = Source(
    columns=(
        "t.id, t.state, t.flavor, t.cluster_id, t.lb_network_ip, t.cert_expiration, t.created_at,"
        f" t.state_since, lb.id, {_ADDRESS}, {_PORT}, t.agent_version, t.image_tag, t.outdated,"
        " t.role, t.vrrp_ip, t.vrrp_port_id, t.vrrp_priority, t.compute_id, t.is_noop"
    ),
    place=(
        f" FROM ({_ALL}) t LEFT JOIN LATERAL (SELECT b.id, b.body, b.project_id"  # noqa: S608
        " FROM load_balancers b WHERE b.cluster_id = t.cluster_id ORDER BY b.id LIMIT 1) lb"
        " ON true"
    ),
    attributes={
        "id": "t.id",
        "loadbalancer_id": "coalesce(lb.id::text, '')",
        "project_id": "coalesce(lb.project_id, '')",
        "compute_id": "t.compute_id",
        "lb_network_ip": "coalesce(t.lb_network_ip, '')",
        "vrrp_ip": _serving(_VRRP_IP),
        "ha_ip": _serving(_ADDRESS),
        "vrrp_port_id": _serving(_VRRP_PORT),
        "ha_port_id": _serving(_PORT),
        "cert_expiration": "coalesce(t.cert_expiration, 'epoch')",
        "cert_busy": "(t.id IS NULL)",
        "role": _serving("t.role"),
        "vrrp_id": _serving(f"CASE WHEN t.vrrp_priority IS NOT NULL THEN '{VRRP_ID}' END"),
        "vrrp_priority": _serving("t.vrrp_priority::text"),
        "status": f"CASE t.state {_STATUS} END",
        "created_at": "t.created_at",
        "updated_at": "t.state_since",
        "compute_flavor": "t.flavor",
        "agent_version": "coalesce(t.agent_version, '')",
        "outdated": "t.outdated",
        **dict.fromkeys(_NEVER, "left(t.state, 0)"),
    },
    ids=frozenset({"id", "compute_id"}),
    times=frozenset({"cert_expiration", "created_at", "updated_at"}),
    addresses=frozenset({"lb_network_ip", "vrrp_ip", "ha_ip"}),
)


async def find(connection: Connection, wanted: Wanted) -> list[AmphoraRecord]:
    """Those that are not gone, as asked for."""
    return [_read(row) for row in await listing.rows(connection, SOURCE, wanted)]


async def get(connection: Connection, amphora_id: str) -> AmphoraRecord:
    """Raises NotFound."""
    row = await listing.row(connection, SOURCE, amphora_id)
    if row is None:
        raise NotFound(f"Amphora {amphora_id} not found.")
    return _read(row)


async def replace_noop(connection: Connection, cluster_id: str) -> None:
    """A failover where nothing is served: another record stands there."""
    await connection.execute(
        "UPDATE clusters SET noop_amphora_id = gen_random_uuid(), noop_amphora_since = now()"
        " WHERE id = %s AND noop_amphora_id IS NOT NULL",
        [cluster_id],
    )


async def statistics(connection: Connection, amphora_id: str) -> list[AmphoraStatistics]:
    """One of each listener that the amphora has counters of."""
    cursor = await connection.execute(
        """SELECT s.amphora_id, s.listener_id, l.load_balancer_id, s.active_connections,
            s.bytes_in, s.bytes_out, s.request_errors, s.total_connections
        FROM statistics s JOIN listeners l ON l.id = s.listener_id
        WHERE s.amphora_id = %s AND NOT l.deleted ORDER BY l.created_at, l.id""",
        [amphora_id],
    )
    names = AmphoraStatistics.__struct_fields__
    return [
        AmphoraStatistics(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()
    ]


def _read(row: Any) -> AmphoraRecord:
    values = dict(zip(AmphoraRecord.__struct_fields__, row, strict=True))
    return AmphoraRecord(**values | {"state": State(values["state"])})

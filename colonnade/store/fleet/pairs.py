# SPDX-License-Identifier: Apache-2.0
"""What is special in the rows of amphorae that serve as one half of a pair.

Each says for itself whether it holds the VIPs. Of several that say so, the one that said it last is
believed: a frozen one cannot take back what it said. Knows no driver.
"""

from typing import Final

from colonnade.domain.fleet import Role
from colonnade.domain.ids import AmphoraId, PortId
from colonnade.store.postgres.database import Connection

# Far from each other, so that who wins does not hang on addresses; high, so that the time to a
# takeover has little to do with them (RFC 5798 section 6.1: skew).
PRIORITIES: Final = (250, 240)
# Of the amphora `a`: whether another half holds the VIPs in its place.
OTHER_HOLDS: Final = """EXISTS (SELECT FROM amphorae o WHERE o.cluster_id = a.cluster_id
    AND o.id <> a.id AND o.role = 'MASTER' AND o.state IN ('SERVING', 'LEAVING')
    AND (a.role <> 'MASTER' OR o.role_since > a.role_since))"""


async def give_priority(connection: Connection, amphora_id: AmphoraId) -> None:
    """The one that the other half does not have, to an amphora that has just been lent."""
    await connection.execute(
        """UPDATE amphorae a SET vrrp_priority = CASE WHEN EXISTS (
            SELECT FROM amphorae o WHERE o.cluster_id = a.cluster_id AND o.id <> a.id
            AND o.state = 'SERVING' AND o.vrrp_priority = %s) THEN %s ELSE %s END
        WHERE id = %s""",
        [PRIORITIES[0], PRIORITIES[1], PRIORITIES[0], amphora_id],
    )


async def record_told(
    connection: Connection,
    amphora_id: AmphoraId,
    peer_id: AmphoraId | None,
    port_id: PortId,
    address: str,
) -> None:
    """Which other half it speaks with from now on, and its own port and address for that."""
    await connection.execute(
        "UPDATE amphorae SET peer_id = %s, vrrp_port_id = %s, vrrp_ip = %s WHERE id = %s",
        [peer_id, port_id, address, amphora_id],
    )


async def record_role(connection: Connection, amphora_id: AmphoraId, said: str) -> bool:
    """What it says of itself. False: that was known, or is no role, or it is not one of a pair."""
    if said not in frozenset(Role):
        return False
    cursor = await connection.execute(
        """UPDATE amphorae SET role = %(said)s, role_since = now()
        WHERE id = %(id)s AND state IN ('SERVING', 'LEAVING') AND role <> %(said)s
          AND vrrp_priority IS NOT NULL""",
        {"id": amphora_id, "said": said},
    )
    return cursor.rowcount == 1

# SPDX-License-Identifier: Apache-2.0
"""Whether the ids of a new tree, which were given from elsewhere, are nobody else's here.

Looked at after the rows were written, in the same transaction: a row whose id was in use is not
written, and nothing else says so. A deleted object has its id until its deletion is applied.
"""

from typing import Final

from colonnade.domain.errors import Conflict
from colonnade.domain.shape import BELOW
from colonnade.domain.tree import LoadBalancer
from colonnade.store.postgres.database import Connection

OF_ROOT: Final = "load_balancers_pkey"
IN_USE: Final = "a load balancer with this id is here already, or its deletion is not applied yet"


async def check(connection: Connection, tree: LoadBalancer) -> None:
    """Raises Conflict with the first that is in use."""
    for noun in BELOW:
        wanted = [node.id for node, _ in noun.each(tree)]
        if not wanted:
            continue
        cursor = await connection.execute(
            f"SELECT id::text FROM {noun.name} WHERE id = ANY(%s::uuid[])"  # noqa: S608
            " AND load_balancer_id = %s",
            [wanted, tree.id],
        )
        there = {row[0] for row in await cursor.fetchall()}
        if missing := sorted({*wanted} - there):
            raise Conflict(f"{noun.noun} {missing[0]}: this id is in use here already")

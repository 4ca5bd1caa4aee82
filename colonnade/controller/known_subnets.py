# SPDX-License-Identifier: Apache-2.0
"""Subnets as a controller knows them: asked for when one is missing, and now and then.

Invariant: what it says of a subnet was so half a minute ago.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from colonnade.domain.ids import SubnetId
from colonnade.drivers.network.protocol import NetworkDriver, Subnet
from colonnade.runtime.clock import loop_time

FRESH_S: Final = 30.0


class KnownSubnets:
    def __init__(self, network: NetworkDriver) -> None:
        self._network = network
        self._found: Mapping[str, Subnet] = {}
        self._asked_at = 0.0

    async def with_these(self, needed: Iterable[SubnetId]) -> Mapping[str, Subnet]:
        """All, by id; one that is needed and is not there is missing."""
        is_old = loop_time() - self._asked_at > FRESH_S
        if is_old or not self._found.keys() >= set(needed):
            self._found = {subnet.id: subnet for subnet in await self._network.subnets()}
            self._asked_at = loop_time()
        return self._found

# SPDX-License-Identifier: Apache-2.0
"""Who would hold the VIPs of a pair, by the rules of VRRP that keepalived keeps.

A half that hears nobody takes them; it hears another only when each was told of the other. Two that
hold them for one cluster at a time are what must not be: `doubled` tells of them.
"""

from collections.abc import Collection

from colonnade.domain.fleet import Role
from colonnade.domain.ids import AmphoraId, ClusterId
from colonnade.protocol.bundle import Pair


class Vrrp:
    def __init__(self) -> None:
        self.pairs: dict[AmphoraId, Pair] = {}
        self.doubled: list[str] = []
        self._clusters: dict[AmphoraId, ClusterId] = {}
        self._holding: set[AmphoraId] = set()

    def tell(self, amphora_id: AmphoraId, cluster_id: ClusterId, pair: Pair) -> None:
        self.pairs[amphora_id], self._clusters[amphora_id] = pair, cluster_id

    def roles(self, running: Collection[AmphoraId]) -> dict[AmphoraId, Role]:
        """Of the halves that run, a while later."""
        for gone in self.pairs.keys() - set(running):
            del self.pairs[gone], self._clusters[gone]
        self._holding &= {name for name, pair in self.pairs.items() if not pair.stands_down}
        for name, pair in sorted(self.pairs.items(), key=lambda one: -one[1].priority):
            if not pair.stands_down and not self._hears_another(name):
                self._holding.add(name)
        holders = [self._clusters[name] for name in self._holding]
        if len(set(holders)) < len(holders):
            self.doubled.append(f"{sorted(self._holding)} hold the VIPs at a time")
        return {n: Role.MASTER if n in self._holding else Role.BACKUP for n in self.pairs}

    def _hears_another(self, name: AmphoraId) -> bool:
        own = self.pairs[name]
        return any(
            (pair.own, pair.peer) == (own.peer, own.own)
            for other, pair in self.pairs.items()
            if other in self._holding and other != name
        )

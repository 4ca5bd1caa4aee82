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

    def forget(self, amphora_id: AmphoraId) -> None:
        """It speaks no more."""
        self.pairs.pop(amphora_id, None)
        self._clusters.pop(amphora_id, None)
        self._holding.discard(amphora_id)

    def roles(
        self, running: Collection[AmphoraId], frozen: Collection[AmphoraId] = ()
    ) -> dict[AmphoraId, Role]:
        """Of the halves that run, a while later. Those that are frozen say nothing, and hear at
        once when they go on."""
        for gone in self.pairs.keys() - set(running):
            self.forget(gone)
        self._holding -= set(frozen)
        self._holding &= {name for name, pair in self.pairs.items() if not pair.stands_down}
        for name, pair in sorted(self.pairs.items(), key=lambda one: -one[1].priority):
            if name in frozen:
                continue
            if not pair.stands_down and not self._hears_another(name):
                self._holding.add(name)
        holders = [self._clusters[name] for name in self._holding]
        if len(set(holders)) < len(holders):
            self.doubled.append(f"{sorted(self._holding)} hold the VIPs at a time")
        speaking = self.pairs.keys() - set(frozen)
        return {n: Role.MASTER if n in self._holding else Role.BACKUP for n in speaking}

    def _hears_another(self, name: AmphoraId) -> bool:
        own = self.pairs[name]
        return any(
            (pair.own, pair.peer) == (own.peer, own.own)
            for other, pair in self.pairs.items()
            if other in self._holding and other != name
        )

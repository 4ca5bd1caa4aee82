# SPDX-License-Identifier: Apache-2.0
"""What the controller asks of a load-balancing driver, and nothing more.

A driver keeps no state: any controller may call any method, again, at once, and after any
failure. It raises `Unreachable` when waiting may help and `Broken` (`Rejected`) when it cannot.
`tests/integration/test_amphora_driver.py` is the other half of this file.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.tree import LoadBalancer
from colonnade.protocol.bundle import Interface, Pair
from colonnade.protocol.messages import StatusReport


class Severity(Enum):
    INCOMPLETE = "accepted, but not served until completed"
    INCOMPATIBLE = "refused: this driver can never serve it"


class Objection(msgspec.Struct, frozen=True):
    severity: Severity
    path: str  # "listeners/<id>/protocol"
    reason: str


class AmphoraDriver(Protocol):
    name: str

    def objections(self, tree: LoadBalancer) -> Sequence[Objection]:
        """Everything wrong with the tree for this driver. Pure and instant."""

    async def apply(
        self,
        amphora: Amphora,
        wanted: Cluster,
        interfaces: Sequence[Interface],
        pair: Pair | None = None,
    ) -> int:
        """The generation that the amphora serves afterwards: this one, or a newer one. `pair`: how
        it shares the VIPs with another; None: it has them alone. Raises Rejected, in haproxy's
        words, when the old configuration keeps serving."""

    async def observe(self, amphora: Amphora) -> StatusReport:
        """What the amphora is doing right now, asked of the amphora itself."""

    async def drain(self, amphora: Amphora) -> None:
        """Its VIPs go to another now: it takes no new connection for a moment. Returns when those
        that were open have ended, or after half a second."""

    async def open_seat(self, carrier: Amphora, seat: Amphora, drive: Mapping[str, str]) -> None:
        """Have the agent of the carrier serve as this amphora too, born with these files. Open
        already: nothing to do. Raises Unreachable."""

    async def close_seat(self, carrier: Amphora, seat: Amphora) -> None:
        """Nothing of the seat is left on the carrier. Not open: nothing to do. Raises
        Unreachable."""

    async def notify(self, amphora: Amphora) -> None:
        """Tell it, by UDP and without an answer, that tasks are pending."""

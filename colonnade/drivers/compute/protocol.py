# SPDX-License-Identifier: Apache-2.0
"""What Colonnade asks of a compute service: start, look at and end amphorae.

Every call may be repeated. A driver raises `Unavailable` (`OutOfCapacity` when no host has
room). It has never heard of load balancers. `tests/contract/test_compute_driver.py` is the
other half of this file.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from colonnade.domain.ids import AmphoraId, PortId


class InstanceState(StrEnum):
    RUNNING = "RUNNING"  # started; whether it is healthy only its heartbeats tell
    STOPPED = "STOPPED"  # dead, its remains not yet cleared away


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    amphora_id: AmphoraId
    state: InstanceState
    host: str


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """All that an amphora is born with. `config_drive` maps file names to their text; it holds
    the amphora's private key, so it is never logged, and a disk that has it is the driver's alone.
    `apart_from`: hosts on which it would be of less use, the worst first; a wish, where there is a
    choice. `flavor`: whose amphorae it is one of; the rest is what that flavor says of the machine,
    "" where it says nothing."""

    amphora_id: AmphoraId
    lb_port_id: PortId
    config_drive: Mapping[str, str]
    apart_from: tuple[str, ...] = ()
    # Of a seat: the amphora that it is on, and ends with. What traffic it has is its own. The agent
    # there is given the config drive by others.
    carrier_id: AmphoraId | None = None
    flavor: str = ""
    image_tag: str = ""
    compute_flavor: str = ""

    def __repr__(self) -> str:
        return f"Boot({self.amphora_id}, {sorted(self.config_drive)})"


class ComputeDriver(Protocol):
    name: str

    async def create(self, boot: Boot) -> None:
        """Start the amphora; return when it is starting. Existing and running: nothing to do.
        Raises NotFound for a seat on an amphora that is not there, Unavailable where that one does
        not run."""

    async def instance(self, amphora_id: AmphoraId) -> Instance | None:
        """What there is of the amphora, None when nothing."""

    async def instances(self) -> Sequence[Instance]:
        """Everything this driver started and has not destroyed: what leaks are found with."""

    async def destroy(self, amphora_id: AmphoraId) -> None:
        """Return only when the amphora can no longer send a packet and nothing of it is left.
        This is the fence. No such amphora: nothing to do."""

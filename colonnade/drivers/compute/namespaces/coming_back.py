# SPDX-License-Identifier: Apache-2.0
"""Amphorae after a boot of the machine: each gets the cables that the book says it has, and is
waited for until it serves.

Invariant: a port that is elsewhere by now stays there. A seat whose ports do not come back in time
is no seat any more, so whoever asks for it misses it, and replaces it.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from colonnade.domain.errors import ColonnadeError, Unavailable
from colonnade.domain.ids import AmphoraId, PortId
from colonnade.drivers.compute.namespaces.kept import serves
from colonnade.drivers.compute.protocol import Boot
from colonnade.drivers.network.namespaces.machines import Machine, Machines
from colonnade.drivers.network.namespaces.networks import Networks

LOOK_S: Final = 0.1
log = structlog.get_logger()


async def plug_again(networks: Networks, user: AmphoraId) -> None:
    for port_id in await _ports(networks, user):
        await _plug(networks, port_id, user)


async def seats_back(
    carrier: Machine, seats: Sequence[str], machines: Machines, networks: Networks, until: float
) -> None:
    """Their agent makes the namespaces that their ports go to, so these are waited for, until that
    time of the loop's clock."""
    for seat in seats:
        machines.seat(carrier, seat)
    for seat in map(AmphoraId, seats):
        try:
            for port_id in await _ports(networks, seat):
                await _plug_once_it_can(networks, port_id, seat, until)
        except ColonnadeError as error:
            log.error("a seat is not back", seat_id=seat, carrier_id=carrier.id, error=str(error))
            machines.forget_seat(seat)
        else:
            log.info("a seat is back", seat_id=seat, carrier_id=carrier.id)


async def serving(machine: Machine, boot: Boot, until: float) -> None:
    """Return when it serves again what it served, or has ended, or time is up."""
    is_waited_for = True
    while is_waited_for:
        await asyncio.sleep(LOOK_S)
        is_waited_for = machine.is_running and not serves(machine, boot) and _now() < until


async def _plug_once_it_can(
    networks: Networks, port_id: PortId, user: AmphoraId, until: float
) -> None:
    while True:
        try:
            await _plug(networks, port_id, user)
            return
        except Unavailable:
            if _now() > until:
                raise
        await asyncio.sleep(LOOK_S)


async def _plug(networks: Networks, port_id: PortId, user: AmphoraId) -> None:
    """A cable to the machine before may be about to vanish: it is not the one that is wanted."""
    await networks.unplug(port_id)
    await networks.plug(port_id, user)


async def _ports(networks: Networks, user: AmphoraId) -> list[PortId]:
    return [port.id for port in await networks.ports() if port.plugged_into == user]


def _now() -> float:
    return asyncio.get_running_loop().time()

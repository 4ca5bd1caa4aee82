# SPDX-License-Identifier: Apache-2.0
"""The fence around an amphora that has VIPs and shall not serve them now.

While it is up no packet to a VIP comes in and none from a VIP goes out: not of new connections, not
of open ones, and no refusal either, for another amphora serves them meanwhile. All else passes, so
its members are checked and it can be asked. It is one table of nftables in the traffic namespace,
and is put up and taken down as a whole, whatever the number of VIPs. It knows no VRRP.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from colonnade.agent.network import nftables
from colonnade.agent.network.nftables import Json

TABLE: Final = "colonnade_fence"
FIRST: Final = -300  # before connections are tracked: NF_IP_PRI_RAW


async def put_up(vips: Iterable[str], namespace: Path) -> None:
    """Around these VIPs, in the place of any that is up. Raises NftError, ValueError."""
    await nftables.change(transaction(vips), namespace)


async def take_down(namespace: Path) -> None:
    """None is up: nothing to do. Raises NftError."""
    await nftables.change(transaction(()), namespace)


def transaction(vips: Iterable[str]) -> Json:
    """What nft is told: one fence, or none around no VIPs. Pure. Raises ValueError."""
    addresses = sorted({ip_address(vip) for vip in vips}, key=lambda one: (one.version, one))
    said: list[Json] = []
    for hook, of_vip in (("prerouting", "daddr"), ("output", "saddr")):
        if addresses:
            entry = {"type": "filter", "hook": hook, "prio": FIRST, "policy": "accept"}
            said.append(nftables.chain(TABLE, hook, **entry))
        for version in sorted({address.version for address in addresses}):
            among = {"set": [str(one) for one in addresses if one.version == version]}
            drops = [
                nftables.match(nftables.field(nftables.family(version), of_vip), among),
                {"drop": None},
            ]
            said.append(nftables.rule(TABLE, hook, drops))
    return nftables.replacing(TABLE, said)

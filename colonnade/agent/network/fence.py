# SPDX-License-Identifier: Apache-2.0
"""The fence around an amphora that has VIPs and shall not serve them now.

While it is up no packet to a VIP comes in and none from a VIP goes out: not of new connections, not
of open ones, and no refusal either, for another amphora serves them meanwhile. All else passes, so
its members are checked and it can be asked. It is one table of nftables in the traffic namespace,
and is put up and taken down as a whole, whatever the number of VIPs. It knows no VRRP.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

from colonnade.agent.network.nftables import change

TABLE: Final = "colonnade_fence"
FIRST: Final = -300  # before connections are tracked: NF_IP_PRI_RAW
Json = dict[str, Any]


async def put_up(vips: Iterable[str], namespace: Path) -> None:
    """Around these VIPs, in the place of any that is up. Raises NftError, ValueError."""
    await change(transaction(vips), namespace)


async def take_down(namespace: Path) -> None:
    """None is up: nothing to do. Raises NftError."""
    await change(transaction(()), namespace)


def transaction(vips: Iterable[str]) -> Json:
    """What nft is told: one fence, or none around no VIPs. Pure. Raises ValueError."""
    table = {"table": {"family": "inet", "name": TABLE}}
    # A table is added so that it can be deleted: it works whether it is there or not.
    said: list[Json] = [{"add": table}, {"delete": table}]
    addresses = sorted({ip_address(vip) for vip in vips}, key=lambda one: (one.version, one))
    if addresses:
        said.append({"add": table})
        for hook, field in (("prerouting", "daddr"), ("output", "saddr")):
            said.append(_chain(hook))
            for version in sorted({address.version for address in addresses}):
                among = [address for address in addresses if address.version == version]
                said.append(_drop(hook, field, among))
    return {"nftables": said}


def _chain(hook: str) -> Json:
    own = {"family": "inet", "table": TABLE, "name": hook}
    entry = {"type": "filter", "hook": hook, "prio": FIRST, "policy": "accept"}
    return {"add": {"chain": {**own, **entry}}}


def _drop(hook: str, field: str, addresses: list[IPv4Address | IPv6Address]) -> Json:
    family = "ip" if addresses[0].version == 4 else "ip6"
    match = {
        "op": "==",
        "left": {"payload": {"protocol": family, "field": field}},
        "right": {"set": [str(address) for address in addresses]},
    }
    rule = {"family": "inet", "table": TABLE, "chain": hook}
    return {"add": {"rule": {**rule, "expr": [{"match": match}, {"drop": None}]}}}

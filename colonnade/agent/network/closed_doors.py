# SPDX-License-Identifier: Apache-2.0
"""Nobody may open a TCP connection for a moment, while those that are open go on.

The kernel lets clients in again by itself when the time is over, so nothing stays closed because
somebody died meanwhile. A client whose SYN is dropped repeats it a second later, and finds whoever
has the address by then. It knows no haproxy.
"""

from pathlib import Path
from typing import Any, Final

from colonnade.agent.network.nftables import change

Json = dict[str, Any]

PLACE: Final[Json] = {"family": "inet", "table": "colonnade_doors"}
TABLE: Final[Json] = {"table": {"family": "inet", "name": "colonnade_doors"}}


async def close_doors(namespace: Path, for_s: int) -> None:
    """Raises NftError; then they are as open as before."""
    await change(transaction(for_s), namespace)


def transaction(for_s: int) -> Json:
    """A table of its own, in the place of the one of the last time: while TCP is in the set, what
    opens a connection is dropped. Pure."""
    closed = {**PLACE, "name": "closed", "type": "inet_proto", "flags": ["timeout"]}
    hook = {"type": "filter", "hook": "input", "prio": -10, "policy": "accept"}
    member = {"elem": {"val": "tcp", "timeout": for_s}}
    protocol = {"meta": {"key": "l4proto"}}
    flags = {"payload": {"protocol": "tcp", "field": "flags"}}
    opens = [
        {"match": {"op": "==", "left": protocol, "right": "@closed"}},
        {"match": {"op": "==", "left": {"&": [flags, ["syn", "ack"]]}, "right": "syn"}},
        {"drop": None},
    ]
    return {
        "nftables": [
            {"add": TABLE},
            {"delete": TABLE},
            {"add": TABLE},
            {"add": {"set": closed}},
            {"add": {"element": {**PLACE, "name": "closed", "elem": [member]}}},
            {"add": {"chain": {**PLACE, "name": "input", **hook}}},
            {"add": {"rule": {**PLACE, "chain": "input", "expr": opens}}},
        ]
    }

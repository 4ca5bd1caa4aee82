# SPDX-License-Identifier: Apache-2.0
"""Nobody may open a TCP connection for a moment, while those that are open go on.

The kernel lets clients in again by itself when the time is over, so nothing stays closed because
somebody died meanwhile. A client whose SYN is dropped repeats it a second later, and finds whoever
has the address by then. It knows no haproxy.
"""

from pathlib import Path
from typing import Final

from colonnade.agent.network import nftables
from colonnade.agent.network.nftables import Json

TABLE: Final = "colonnade_doors"
PLACE: Final[Json] = {"family": "inet", "table": TABLE, "name": "closed"}


async def close_doors(namespace: Path, for_s: int) -> None:
    """Raises NftError; then they are as open as before."""
    await nftables.change(transaction(for_s), namespace)


def transaction(for_s: int) -> Json:
    """A table of its own, in the place of the one of the last time: while TCP is in the set, what
    opens a connection is dropped. Pure."""
    closed = {**PLACE, "type": "inet_proto", "flags": ["timeout"]}
    hook = {"type": "filter", "hook": "input", "prio": -10, "policy": "accept"}
    member = {"elem": {"val": "tcp", "timeout": for_s}}
    said = [
        {"add": {"set": closed}},
        {"add": {"element": {**PLACE, "elem": [member]}}},
        nftables.chain(TABLE, "input", **hook),
        nftables.rule(
            TABLE,
            "input",
            [nftables.match(nftables.PROTOCOL, "@closed"), nftables.OPENS_TCP, {"drop": None}],
        ),
    ]
    return nftables.replacing(TABLE, said)

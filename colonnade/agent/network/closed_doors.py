# SPDX-License-Identifier: Apache-2.0
"""Nobody may open a TCP connection for a moment, while those that are open go on.

The kernel lets clients in again by itself when the time is over, so nothing stays closed because
somebody died meanwhile. A client whose SYN is dropped repeats it a second later, and finds whoever
has the address by then. It knows no haproxy.
"""

import shutil
from pathlib import Path
from typing import Final

from colonnade.agent.network.firewall import PLACES, FirewallError
from colonnade.agent.programs import run, words

TABLE: Final = "inet colonnade_doors"
CLOSE_S_MAX: Final = 2.0


async def close_doors(namespace: Path, for_ms: int) -> None:
    """Raises FirewallError; then they are as open as before."""
    nft = shutil.which("nft", path=PLACES)
    if nft is None:
        raise FirewallError("the amphora has no nft (Debian package nftables)")
    code, output = await run(
        *("nsenter", f"--net={namespace}", nft, "--file", "-"),
        given=rules(for_ms).encode(),
        within_s=CLOSE_S_MAX,
    )
    if code != 0:
        raise FirewallError(f"new connections cannot be held off: {words(output)}")


def rules(for_ms: int) -> str:
    """A table of its own, in the place of the one of the last time."""
    return f"""table {TABLE}
delete table {TABLE}
table {TABLE} {{
    set closed {{ type inet_proto; flags timeout; elements = {{ tcp timeout {for_ms}ms }}; }}
    chain input {{
        type filter hook input priority -10; policy accept;
        meta l4proto @closed tcp flags & (syn | ack) == syn drop
    }}
}}
"""

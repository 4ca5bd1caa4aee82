# SPDX-License-Identifier: Apache-2.0
"""Networks of the server itself, in each mode: real clients and members around a server that is a
network namespace. `own_networks.py` is what runs there.
"""

import asyncio
import json
import os
import shutil
import sys
from typing import Any

import pytest

S_MAX = 240
# As whom load balancers see the server: in mode macvlan it has a leg of its own.
SERVERS = {
    "routed": ("198.19.0.1", "fdc0:10ad:1::1"),
    "bridge": ("192.0.2.5", "2001:db8:5::5"),
    "macvlan": ("192.0.2.101", "2001:db8:5::101"),
}
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: networks of the machine itself"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft"),
]


async def found(mode: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "--", sys.executable, "-m", "tests.e2e.own_networks", mode),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(S_MAX):
        said, _ = await process.communicate()
    assert process.returncode == 0
    seen: dict[str, Any] = json.loads(said)
    return seen


async def test_ports_of_the_servers_own_address_lead_to_load_balancers() -> None:
    seen = await found("host")
    assert seen["subnets"] == {"web-subnet": "192.0.2.0/24", "web-subnet-v6": "2001:db8:5::/64"}
    assert seen["vips"] == ["192.0.2.5", "192.0.2.5"]
    # The member sees the server, and is told of the client, whose address is kept.
    assert seen["near4"] == "192.0.2.5 192.0.2.50"
    assert seen["far4"] == "192.0.2.5 198.51.100.9"
    assert seen["server4"] == "192.0.2.5 198.19.0.1"
    assert seen["near6"] == "192.0.2.5 2001:db8:5::50"
    assert seen["far6"] == "192.0.2.5 2001:db8:6::9"
    assert seen["server6"] == "192.0.2.5 fdc0:10ad:1::1"
    assert seen["second"] == "192.0.2.5 198.51.100.9"
    # What the server's own program listens on stays its own.
    assert seen["own"] == "198.51.100.9 - own"
    assert "leads to another load balancer" in seen["refused: taken"]
    assert "listens on tcp 192.0.2.5:2222 itself" in seen["refused: machine's"]
    assert "listens on tcp 192.0.2.5:2222 itself" in seen["refused: nested"]
    assert "SINGLE alone" in seen["refused: pair"]
    check_tenants(seen)
    assert seen["without the table"] == "no answer"
    assert seen["after restart"] == "192.0.2.5 2001:db8:6::9"
    assert seen["after delete"] == "192.0.2.5 192.0.2.50"
    assert seen["left"] == []


@pytest.mark.parametrize("mode", ["bridge", "macvlan", "routed"])
async def test_load_balancers_have_addresses_of_their_own_on_the_servers_networks(
    mode: str,
) -> None:
    seen = await found(mode)
    # The first of the range is somebody else's, and in mode macvlan the next the server's own.
    vip, vip_6 = seen["vips"]
    assert vip in ("192.0.2.101", "192.0.2.102")
    assert vip_6 in ("2001:db8:5::101", "2001:db8:5::102")
    assert "is in use on network lan" in seen["refused: in use"]
    server, server_6 = SERVERS[mode]
    assert (seen["near4"], seen["near6"]) == (f"{vip} 192.0.2.50", f"{vip} 2001:db8:5::50")
    assert (seen["far4"], seen["far6"]) == (f"{vip} 198.51.100.9", f"{vip} 2001:db8:6::9")
    assert (seen["server4"], seen["server6"]) == (f"{vip} {server}", f"{vip} {server_6}")
    check_tenants(seen)
    assert seen["after failover"] == [f"{vip} 198.51.100.9", f"{vip} 2001:db8:6::9"]
    if mode == "macvlan":
        assert seen["by subnet"].startswith("192.0.2.1")
    assert seen["left"] == []


def check_tenants(seen: dict[str, Any]) -> None:
    """They reach members, and nothing of the machine, of its link or of the LB network."""
    for address in ("169.254.169.254", "198.18.0.1"):
        assert "not a valid option" in seen[f"refused: {address}"], address
    assert list(seen["reached"]) == ["192.0.2.60"]
    assert seen["by a member"] == []

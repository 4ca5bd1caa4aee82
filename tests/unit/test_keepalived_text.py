# SPDX-License-Identifier: Apache-2.0
"""keepalived's file against golden text; nothing that is not a number or an address gets into it.

To take a change over into the golden text: `GOLDEN=write pytest` on this file, and read the
difference before it is committed.
"""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from colonnade.agent.keepalived.half import has_address
from colonnade.agent.keepalived.text import Surroundings, text
from colonnade.protocol.bundle import Interface, Pair

GOLDEN = Path(__file__).parent / "golden"
PAIR = Pair(own="203.0.113.5", peer="203.0.113.6", priority=250, advert_ms=100)
FRONT = Interface(
    mac="02:00:00:00:00:05",
    addresses=("203.0.113.5/24",),
    floating=("203.0.113.7/24", "203.0.113.8/24"),
)
FRONT6 = Interface(
    mac="02:00:00:00:00:06", addresses=("2001:db8:1::5/64",), floating=("2001:db8:1::7/64",)
)
BACK = Interface(mac="02:00:00:00:00:09", addresses=("10.0.0.5/24",))
NAMES = {FRONT.mac: "v-front", FRONT6.mac: "v-front6", BACK.mac: "v-back"}
UNFIT = Path("/run/colonnade/unfit")


def file(pair: Pair, *interfaces: Interface) -> str:
    return text(pair, interfaces, NAMES, Surroundings(UNFIT))


@pytest.mark.parametrize(
    ("name", "pair", "interfaces"),
    [
        ("one-vip", PAIR, [replace(FRONT, floating=FRONT.floating[:1]), BACK]),
        ("all-vips", replace(PAIR, advert_ms=50), [FRONT, FRONT6, BACK]),
        (
            "ipv6",
            replace(PAIR, own="2001:db8:1::5", peer="2001:db8:1::6", priority=240),
            [FRONT6],
        ),
    ],
)
def test_each_pair_is_its_golden_text(name: str, pair: Pair, interfaces: list[Interface]) -> None:
    golden = GOLDEN / f"keepalived-{name}.conf"
    said = file(pair, *interfaces)
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(said)
    assert said == golden.read_text()


def test_it_says_what_it_is_where_its_fence_follows() -> None:
    roles = Path("/run/colonnade/roles.fifo")
    said = text(PAIR, [FRONT], NAMES, Surroundings(UNFIT, roles))
    line = f"    vrrp_notify_fifo {roles}\n"
    assert said.replace(line, "") == file(PAIR, FRONT)


def test_one_without_another_half_speaks_to_itself_and_not_to_everybody() -> None:
    peers = file(replace(PAIR, peer=""), FRONT).partition("unicast_peer {")[2]
    assert peers.split()[0] == PAIR.own


@pytest.mark.parametrize(
    ("pair", "interface"),
    [
        (replace(PAIR, own="203.0.113.5\n}"), FRONT),
        (replace(PAIR, peer="203.0.113.6 }"), FRONT),
        (replace(PAIR, own="203.0.113.99"), FRONT),
        (replace(PAIR, priority=255), FRONT),
        (replace(PAIR, advert_ms=0), FRONT),
        (PAIR, replace(FRONT, floating=("203.0.113.7/24 dev lo",))),
        (PAIR, replace(FRONT, floating=())),
    ],
)
def test_what_cannot_be_served_is_refused(pair: Pair, interface: Interface) -> None:
    with pytest.raises(ValueError, match=r"."):
        file(pair, interface)


TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 203.0.113.7
        /32 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 203.0.113.70
        /32 host LOCAL
     |-- 203.0.113.8
        /32 host LOCAL
"""


def test_the_kernel_says_which_addresses_there_are(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(TRIE)
    (tmp_path / "if_inet6").write_text("20010db8000100000000000000000007 03 40 00 80 v-front6\n")
    there = {
        address: has_address(tmp_path, f"{address}/24")
        for address in ("203.0.113.8", "203.0.113.7", "203.0.113.70", "203.0.113.9")
    }
    assert there == {
        "203.0.113.8": True,
        "203.0.113.7": False,
        "203.0.113.70": True,
        "203.0.113.9": False,
    }
    assert has_address(tmp_path, "2001:db8:1::7/64")
    assert not has_address(tmp_path, "2001:db8:1::8/64")
    assert not has_address(tmp_path / "gone", "203.0.113.8/24")

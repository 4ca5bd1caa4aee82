# SPDX-License-Identifier: Apache-2.0
"""What nft is told of a fence: one table, whole, around the VIPs that are named and no other."""

from typing import Any

import pytest

from colonnade.agent.network.fence import TABLE, transaction


def rules(vips: list[str]) -> list[tuple[str, str, str, list[str]]]:
    """(hook, IP version, field, addresses) of each rule."""
    said: list[Any] = transaction(vips)["nftables"]
    found = []
    for rule in (act["add"]["rule"] for act in said if "rule" in act.get("add", {})):
        match, verdict = rule["expr"]
        assert verdict == {"drop": None}
        place = match["match"]["left"]["payload"]
        found.append(
            (rule["chain"], place["protocol"], place["field"], match["match"]["right"]["set"])
        )
    return found


def test_both_ways_are_shut_for_each_ip_version_of_the_vips() -> None:
    four, six = ["192.0.2.1", "192.0.2.2"], ["2001:db8::1"]
    assert rules([*four, "2001:DB8::1", "192.0.2.1"]) == [
        ("prerouting", "ip", "daddr", four),
        ("prerouting", "ip6", "daddr", six),
        ("output", "ip", "saddr", four),
        ("output", "ip6", "saddr", six),
    ]
    assert rules(four) == [
        ("prerouting", "ip", "daddr", four),
        ("output", "ip", "saddr", four),
    ]


def test_a_fence_takes_the_place_of_another_and_none_is_no_table() -> None:
    table = {"table": {"family": "inet", "name": TABLE}}
    gone = [{"add": table}, {"delete": table}]
    assert transaction([])["nftables"] == gone
    said = transaction(["192.0.2.1"])["nftables"]
    assert said[:3] == [*gone, {"add": table}]


@pytest.mark.parametrize("text", ["x", "192.0.2.1/32", ""])
def test_only_addresses_have_a_fence(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        transaction([text])

# SPDX-License-Identifier: Apache-2.0
"""The rules that nftables is told: one transaction, and no overlap that it would refuse."""

from typing import Any

import msgspec
import pytest

from colonnade.agent.network.firewall import transaction
from colonnade.protocol.bundle import Access

RULE = Access(
    address="203.0.113.7", port=80, allowed=("10.0.0.0/9", "10.128.0.0/9", "2001:db8::/32")
)


def told(*rules: Access) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = transaction(rules)["nftables"]
    return said


def rules_of(chain: str, said: list[dict[str, Any]]) -> list[Any]:
    rules = [one["add"]["rule"] for one in said if "rule" in one.get("add", {})]
    return [rule["expr"] for rule in rules if rule["chain"] == chain]


def test_no_rules_take_the_table_away() -> None:
    assert [next(iter(one)) for one in told()] == ["add", "delete"]


def test_neighbours_become_one_and_the_other_ip_version_means_nothing() -> None:
    allowed, dropped = rules_of("rule0", told(RULE))
    assert allowed[0]["match"]["right"] == {"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}]}
    assert dropped == [{"drop": None}]


def test_nobody_of_this_ip_version_is_allowed_when_none_is_named() -> None:
    assert rules_of("rule0", told(msgspec.structs.replace(RULE, allowed=("2001:db8::/32",)))) == [
        [{"drop": None}]
    ]


def test_all_allowed_is_no_rule() -> None:
    assert rules_of("rule0", told(msgspec.structs.replace(RULE, allowed=("0.0.0.0/0",)))) == []


def test_rules_stand_before_anything_leads_to_them() -> None:
    kinds = [next(iter(one["add"])) for one in told(RULE, RULE)[3:]]
    assert kinds.index("chain") < kinds.index("rule")
    jumps = rules_of("input", told(RULE, RULE))
    assert [jump[-1]["jump"]["target"] for jump in jumps] == ["rule0", "rule1"]


def test_vrrp_is_for_the_other_half_whatever_its_address() -> None:
    rule = Access(address="203.0.113.5", port=0, allowed=("203.0.113.6",), protocol="vrrp")
    said = told(rule)
    (jump,) = rules_of("input", said)
    assert jump[0]["match"] == {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 112}
    allowed, dropped = rules_of("rule0", said)
    assert allowed[0]["match"]["right"] == {"set": [{"prefix": {"addr": "203.0.113.6", "len": 32}}]}
    assert dropped == [{"drop": None}]
    assert rules_of("rule0", told(msgspec.structs.replace(rule, allowed=()))) == [[{"drop": None}]]


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "x; drop"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear"):
        transaction((msgspec.structs.replace(RULE, allowed=(text,)),))

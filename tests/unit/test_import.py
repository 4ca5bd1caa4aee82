# SPDX-License-Identifier: Apache-2.0
"""What `colonnade import octavia` makes of what another endpoint shows, and what it says of it."""

from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.api.http.decoding import read_body
from colonnade.api.resources import bodies
from colonnade.cli.octavia.checking import checked
from colonnade.cli.octavia.findings import Finding, Weight
from colonnade.cli.octavia.translating import (
    RELEASED,
    Mapped,
    count,
    differences,
    is_released,
    translated,
)
from colonnade.domain.ids import new_id
from colonnade.domain.shape import LOAD_BALANCERS

FACTS: dict[str, Any] = {
    "provisioning_status": "ACTIVE", "operating_status": "ONLINE", "project_id": "shop",
    "tenant_id": "shop", "created_at": "2024-01-01T00:00:00", "updated_at": None, "tags": [],
    "admin_state_up": True, "name": "",
}  # fmt: skip
GOLD = "7a1b1f7e-0000-4000-8000-000000000001"


def pool(**more: Any) -> dict[str, Any]:
    """As an Octavia of 2025 shows one."""
    return FACTS | {
        "id": new_id(), "description": "", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
        "session_persistence": {
            "type": "SOURCE_IP", "cookie_name": None, "persistence_timeout": None,
            "persistence_granularity": None,
        },
        "loadbalancers": [{"id": "x"}], "listeners": [], "healthmonitor_id": None,
        "tls_container_ref": None, "ca_tls_container_ref": None, "crl_container_ref": None,
        "tls_enabled": False, "tls_ciphers": None, "tls_versions": [], "alpn_protocols": [],
        "members": [member()], "healthmonitor": monitor(),
    } | more  # fmt: skip


def member(**more: Any) -> dict[str, Any]:
    return FACTS | {
        "id": new_id(), "address": "10.0.0.5", "protocol_port": 80, "weight": 1, "backup": False,
        "subnet_id": None, "monitor_address": None, "monitor_port": None, "vnic_type": "normal",
    } | more  # fmt: skip


def monitor(**more: Any) -> dict[str, Any]:
    return FACTS | {
        "id": new_id(), "type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2,
        "max_retries_down": 3, "http_method": None, "url_path": None, "expected_codes": None,
        "http_version": None, "domain_name": None, "pools": [{"id": "x"}],
    } | more  # fmt: skip


def listener(pool_id: str | None, **more: Any) -> dict[str, Any]:
    return FACTS | {
        "id": new_id(), "description": "", "protocol": "HTTP", "protocol_port": 80,
        "connection_limit": -1, "default_pool_id": pool_id, "insert_headers": {},
        "loadbalancers": [{"id": "x"}], "default_tls_container_ref": None,
        "sni_container_refs": [], "timeout_client_data": 50000, "timeout_member_connect": 5000,
        "timeout_member_data": 50000, "timeout_tcp_inspect": 0, "client_ca_tls_container_ref": None,
        "client_authentication": "NONE", "client_crl_container_ref": None, "allowed_cidrs": None,
        "tls_ciphers": None, "tls_versions": [], "alpn_protocols": [], "hsts_max_age": None,
        "hsts_include_subdomains": False, "hsts_preload": False, "l7policies": [],
    } | more  # fmt: skip


def policy(action: str, position: int, **more: Any) -> dict[str, Any]:
    return FACTS | {
        "id": new_id(), "description": "", "action": action, "position": position,
        "listener_id": "x", "redirect_pool_id": None, "redirect_url": None, "redirect_prefix": None,
        "redirect_http_code": None, "rules": [rule()],
    } | more  # fmt: skip


def rule(**more: Any) -> dict[str, Any]:
    return FACTS | {
        "id": new_id(), "type": "PATH", "compare_type": "STARTS_WITH", "key": None, "value": "/a",
        "invert": False,
    } | more  # fmt: skip


def root(**more: Any) -> dict[str, Any]:
    one, other = pool(), pool(name="other", members=[], healthmonitor=None)
    policies = [
        policy("REDIRECT_TO_POOL", 1, redirect_pool_id=other["id"]),
        policy("REDIRECT_TO_URL", 2, redirect_url="https://a.test/", redirect_http_code=302),
    ]
    return FACTS | {
        "id": new_id(), "name": "web", "description": "", "provider": "amphora",
        "vip_address": "10.0.0.9", "vip_port_id": new_id(), "vip_subnet_id": new_id(),
        "vip_network_id": new_id(), "vip_qos_policy_id": None, "vip_vnic_type": "normal",
        "vip_sg_ids": [], "additional_vips": [], "flavor_id": None, "availability_zone": None,
        "listeners": [listener(one["id"], l7policies=policies)], "pools": [one, other],
    } | more  # fmt: skip


def found(whole: dict[str, Any], mapped: Mapped = Mapped()) -> list[Finding]:  # noqa: B008 - frozen
    made = translated(whole, mapped)
    return [*made.findings, *checked(made.document)]


def told(findings: list[Finding], weight: Weight) -> set[tuple[str, str]]:
    return {(one.attribute, one.place.split(" (")[0]) for one in findings if one.weight is weight}


def test_an_ordinary_one_has_nothing_that_blocks_and_keeps_every_id() -> None:
    whole = root()
    document = translated(whole, Mapped()).document
    assert told(found(whole), Weight.BLOCKS) == set()
    assert count(document) == 10
    raw = msgspec.json.encode({"loadbalancer": document})
    read_body(raw, bodies.wished(LOAD_BALANCERS), "loadbalancer")
    for name in ("id", "name", "vip_address", "vip_port_id", "vip_subnet_id", "project_id"):
        assert document[name] == whole[name]
    (front,) = document["listeners"]
    assert front["default_pool_id"] == whole["pools"][0]["id"]
    assert [one["id"] for one in front["l7policies"]] == [
        one["id"] for one in whole["listeners"][0]["l7policies"]
    ]
    assert document["pools"][0]["session_persistence"] == {"type": "SOURCE_IP"}
    assert "healthmonitor" not in document["pools"][1]


@pytest.mark.parametrize(
    ("change", "attribute", "place", "says"),
    [
        (lambda x: x.update(provider="ovn"), "provider", "load balancer web", "--provider ovn="),
        (lambda x: x.update(flavor_id=GOLD), "flavor_id", "load balancer web", "--flavor THEIRS="),
        (
            lambda x: x.update(provisioning_status="PENDING_UPDATE"),
            "provisioning_status", "load balancer web", "wait",
        ),
        (
            lambda x: x.update(provisioning_status="ERROR"),
            "provisioning_status", "load balancer web", "openstack loadbalancer failover",
        ),
        (
            lambda x: x["pools"][0].update(provisioning_status="PENDING_DELETE"),
            "provisioning_status", "pool", "wait",
        ),
        (
            lambda x: x.update(additional_vips=[{"subnet_id": new_id(), "ip_address": "10.1.0.9",
                                                 "port_id": x["vip_port_id"]}]),
            "additional_vips", "load balancer web", "port with each",
        ),
        (lambda x: x.update(vip_sg_ids=[GOLD]), "vip_sg_ids", "load balancer web", "change it"),
        (
            lambda x: x["listeners"].append(listener(None, protocol="UDP", protocol_port=53)),
            "protocol", "listener UDP :53", "change it",
        ),
        (
            lambda x: x["pools"].append(pool(name="sctp", protocol="SCTP", healthmonitor=None)),
            "protocol", "pool sctp", "change it",
        ),
        (
            lambda x: x["pools"][0]["healthmonitor"].update(type="PING"),
            "type", "health monitor PING", "change it",
        ),
        (
            lambda x: x["pools"][1].update(lb_algorithm="SOURCE_IP_PORT"),
            "lb_algorithm", "pool other", "change it",
        ),
        (
            lambda x: x["pools"][0]["members"][0].update(vnic_type="direct"),
            "request_sriov", "pool", "change it",
        ),
    ],
)  # fmt: skip
def test_what_cannot_come_over_is_told_of_its_object_with_a_cure(
    change: Any, attribute: str, place: str, says: str
) -> None:
    whole = root()
    change(whole)
    findings = found(whole)
    assert told(findings, Weight.BLOCKS) == {(attribute, place)}
    (one,) = [one for one in findings if one.weight is Weight.BLOCKS]
    assert says in one.cure
    assert one.cause


def test_all_that_is_wrong_is_told_at_once() -> None:
    whole = root(provider="ovn", flavor_id=GOLD)
    whole["listeners"][0]["insert_headers"] = {"X-Nix": "true"}
    whole["pools"][0]["members"][0]["weight"] = 1000
    places = {one.place.split(" (")[0] for one in found(whole)}
    assert places == {"load balancer web", "listener HTTP :80", "member 10.0.0.5:80"}


def test_what_is_called_otherwise_here_is_told_and_taken() -> None:
    whole = root(provider="amphorav2", flavor_id=GOLD, availability_zone="one")
    made = translated(whole, Mapped(flavors={GOLD: "ours"}, zones={"one": "hall"}))
    assert told(list(made.findings), Weight.DIFFERS) == {
        (name, "load balancer web") for name in ("provider", "flavor_id", "availability_zone")
    }
    document = made.document
    assert (document["provider"], document["flavor_id"]) == ("amphora", "ours")
    assert document["availability_zone"] == "hall"
    made = translated(whole, Mapped(flavors={GOLD: ""}, zones={"one": ""}))
    assert not {"flavor_id", "availability_zone"} & made.document.keys()
    assert told(list(made.findings), Weight.BLOCKS) == set()


def test_an_attribute_that_nobody_knows_here_is_named_and_left_out() -> None:
    whole = root(colour="red", nothing=None, empty=[], off=False)
    made = translated(whole, Mapped())
    assert [(one.attribute, one.weight) for one in made.findings] == [("colour", Weight.DIFFERS)]
    assert "colour" not in made.document


def test_one_that_was_released_is_taken_as_it_was() -> None:
    whole = root(tags=["shop"], admin_state_up=True)
    released = root() | whole | {"tags": ["shop", RELEASED], "admin_state_up": False}
    assert is_released(released)
    assert not is_released(whole)
    assert translated(released, Mapped()).document == translated(whole, Mapped()).document


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20))
ANYTHING = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=2),
    st.dictionaries(st.text(max_size=5), SCALARS, max_size=2),
)
KEYS = st.sampled_from(
    [*root(), "colour", "vip_vnic_type", *listener(None), *pool(), *member(), *monitor()]
)


@given(
    places=st.lists(st.sampled_from(["root", "listener", "pool", "member", "monitor"]), max_size=3),
    name=KEYS, value=ANYTHING,
)  # fmt: skip
def test_whatever_an_endpoint_shows_is_translated_or_told(
    places: list[str], name: str, value: Any
) -> None:
    """Nothing of it ends in anything but findings; what has none can be imported."""
    structure = {"id", "listeners", "pools", "members", "l7policies", "healthmonitor"}
    whole = root()
    objects = {
        "root": whole, "listener": whole["listeners"][0], "pool": whole["pools"][0],
        "member": whole["pools"][0]["members"][0], "monitor": whole["pools"][0]["healthmonitor"],
    }  # fmt: skip
    for place in places:
        if name not in structure | {"additional_vips", "tags"}:
            objects[place][name] = value
    findings = found(whole)
    if not told(findings, Weight.BLOCKS):
        raw = msgspec.json.encode({"loadbalancer": translated(whole, Mapped()).document})
        read_body(raw, bodies.wished(LOAD_BALANCERS), "loadbalancer")


def test_each_difference_of_two_is_named_by_its_object() -> None:
    whole = root()
    other = deepcopy(whole)
    assert differences(*[translated(one, Mapped()).document for one in (whole, other)]) == []
    other["pools"][0]["members"].append(member(address="10.0.0.6"))
    other["pools"][0]["lb_algorithm"] = "SOURCE_IP"
    other["pools"][1] = pool(name="third")
    del other["listeners"][0]["l7policies"][1]
    there, here = [translated(one, Mapped()).document for one in (whole, other)]
    named = {
        (one.place.split(" (")[0], one.attribute, one.cause) for one in differences(there, here)
    }
    assert named == {
        ("member 10.0.0.6:80", "", "it is here alone"),
        ("pool", "lb_algorithm", "'ROUND_ROBIN' there, 'SOURCE_IP' here"),
        ("pool other", "", "it is not here"), ("pool third", "", "it is here alone"),
        ("L7 policy REDIRECT_TO_URL", "", "it is not here"),
    }  # fmt: skip


def test_what_only_one_of_two_knows_is_a_difference_when_it_is_not_as_by_default() -> None:
    whole = root()
    there, here = [translated(deepcopy(whole), Mapped()).document for _ in range(2)]
    here["pools"][0] |= {"slow_start": 0, "drain_seconds": 0, "http2": False, "retries": 3}
    here["listeners"][0] |= {"compression": False, "insert_headers": {}}
    del there["listeners"][0]["connection_limit"]
    assert differences(there, here) == []
    here["pools"][0]["drain_seconds"] = 30
    here["flavor_id"] = GOLD
    assert {(one.attribute, one.cause) for one in differences(there, here)} == {
        ("drain_seconds", "0 there, 30 here"), ("flavor_id", f"None there, '{GOLD}' here"),
    }  # fmt: skip

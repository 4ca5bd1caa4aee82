# SPDX-License-Identifier: Apache-2.0
"""What the haproxy driver says of trees, as one table: path and severity, and words that help."""

from typing import Any

import pytest
from msgspec.structs import replace

from colonnade.domain.l7 import L7Policy, RateLimit, Rewrite
from colonnade.domain.pools import OutlierEjection, Persistence
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import (
    Algorithm,
    CompareType,
    L7Action,
    L7RuleType,
    ListenerProtocol,
    MonitorType,
    PersistenceType,
    PoolProtocol,
    TlsVersion,
)
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import Templates, render
from colonnade.drivers.amphora.protocol import Objection, Severity
from tests.haproxy_extras import EXTRAS, MATCHES, fixed, policy, rule, ruled, to_other
from tests.haproxy_trees import FEATURES as PLAIN
from tests.haproxy_trees import (
    HTTPS,
    TCP,
    cluster,
    ident,
    listener,
    member,
    monitor,
    pool,
    tree,
    web,
)

FEATURES = PLAIN | EXTRAS
VIP = "203.0.113.9"
NO, WAITS = Severity.INCOMPATIBLE, Severity.INCOMPLETE
L, P, M = f"listeners/{ident(100)}", f"pools/{ident(200)}", f"pools/{ident(200)}/healthmonitor"


def of(protocol: ListenerProtocol, pool_protocol: PoolProtocol | None) -> LoadBalancer:
    if pool_protocol is None:
        tls = protocol is ListenerProtocol.TERMINATED_HTTPS
        more: dict[str, Any] = {"default_tls_container_ref": "web"} if tls else {}
        return tree((listener(protocol=protocol, default_pool_id=None, **more),), ())
    return tree((listener(protocol=protocol),), (pool(protocol=pool_protocol),))


def first(of_pool: dict[str, Any]) -> LoadBalancer:
    return web(**of_pool).load_balancers[0]


def monitored(kind: MonitorType, **more: Any) -> LoadBalancer:
    return first({"health_monitor": monitor(kind, **more)})


def tls(**more: Any) -> LoadBalancer:
    ended = ListenerProtocol.TERMINATED_HTTPS
    return tree((listener(100, ended, default_tls_container_ref="web", **more),), (pool(),))


def policies(*found: L7Policy) -> LoadBalancer:
    return ruled(*found).load_balancers[0]


def rejecting() -> L7Policy:
    return policy(300, L7Action.REJECT, rule(400, "/"))


def limiting(number: int) -> L7Policy:
    limit = RateLimit(requests=1)
    return policy(number, L7Action.RATE_LIMIT, rule(number + 100, "/"), rate_limit=limit)


def rewriting(**more: Any) -> L7Policy:
    return policy(300, L7Action.REWRITE, rule(400, "/"), rewrite=Rewrite(**more))


HAS_CERT = rule(400, "True", L7RuleType.SSL_CONN_HAS_CERT, CompareType.EQUAL_TO)
FIRST = web().load_balancers[0]
APP = Persistence(type=PersistenceType.APP_COOKIE, cookie_name="a'b")
SRV = Persistence(type=PersistenceType.HTTP_COOKIE)
CASES: dict[str, tuple[LoadBalancer, Severity, str, str]] = {
    "nothing yet": (tree((), ()), WAITS, "listeners", "no listener"),
    "udp": (of(ListenerProtocol.UDP, None), NO, f"{L}/protocol", "UDP"),
    "sctp": (of(ListenerProtocol.SCTP, None), NO, f"{L}/protocol", "SCTP"),
    "udp pool": (of(ListenerProtocol.UDP, PoolProtocol.UDP), NO, f"{P}/protocol", "TCP"),
    "sctp pool": (of(ListenerProtocol.SCTP, PoolProtocol.SCTP), NO, f"{P}/protocol", "TCP"),
    "sslv3": (tls(tls_versions=(TlsVersion.SSLV3,)), NO, f"{L}/tls_versions", "SSLv3"),
    "gap in tls versions": (
        tls(tls_versions=(TlsVersion.TLSV1_3, TlsVersion.TLSV1_1)),
        NO,
        f"{L}/tls_versions",
        "must have no gap",
    ),
    "unknown ciphers": (tls(tls_ciphers="NONSENSE"), NO, f"{L}/tls_ciphers", "known"),
    "unknown suites": (tls(tls_ciphers="TLS_NONSENSE"), NO, f"{L}/tls_ciphers", "TLS_NONSENSE"),
    "suites of another version": (
        tls(tls_ciphers="TLS_AES_128_GCM_SHA256", tls_versions=(TlsVersion.TLSV1_2,)),
        NO,
        f"{L}/tls_ciphers",
        "tls_versions",
    ),
    "tls to members": (
        first({"tls_enabled": True, "tls_ciphers": "NONSENSE"}),
        NO,
        f"{P}/tls_ciphers",
        "known",
    ),
    "http without pool": (
        of(ListenerProtocol.HTTP, None),
        WAITS,
        f"{L}/default_pool_id",
        "503",
    ),
    "tcp without pool": (of(TCP, None), WAITS, f"{L}/default_pool_id", "closed"),
    "source ip and port": (
        first({"lb_algorithm": Algorithm.SOURCE_IP_PORT}),
        NO,
        f"{P}/lb_algorithm",
        "SOURCE_IP",
    ),
    "ping": (monitored(MonitorType.PING), NO, f"{M}/type", "Use type TCP"),
    "udp-connect": (monitored(MonitorType.UDP_CONNECT), NO, f"{M}/type", "TCP"),
    "sctp monitor": (monitored(MonitorType.SCTP), NO, f"{M}/type", "TCP"),
    "timeout over delay": (
        monitored(MonitorType.HTTP, delay=2, timeout=3),
        WAITS,
        f"{M}/timeout",
        "longer than its delay",
    ),
    "bad path": (monitored(MonitorType.HTTP, url_path="/a b"), NO, f"{M}/url_path", "spaces"),
    "bad codes": (
        monitored(MonitorType.HTTP, expected_codes="204-200"),
        NO,
        f"{M}/expected_codes",
        "lowest first",
    ),
    "bad version": (monitored(MonitorType.HTTP, http_version=2.0), NO, f"{M}/http_version", "1.1"),
    "bad method": (monitored(MonitorType.HTTP, http_method="G"), NO, f"{M}/http_method", "method"),
    "bad domain": (
        monitored(MonitorType.HTTP, http_version=1.1, domain_name="a b"),
        NO,
        f"{M}/domain_name",
        "host name",
    ),
    "bad cookie": (
        first({"session_persistence": APP}),
        NO,
        f"{P}/session_persistence/cookie_name",
        "cookie",
    ),
    "scoped member": (
        first({"members": (member(1, "fe80::1%eth0"),)}),
        NO,
        f"{P}/members/{ident(1)}/address",
        "scope",
    ),
    "scoped check": (
        first({"members": (member(1, monitor_address="fe80::1%a"),)}),
        NO,
        f"{P}/members/{ident(1)}/monitor_address",
        "scope",
    ),
    "no members": (first({"members": ()}), WAITS, f"{P}/members", "no members"),
    "members down": (
        first({"members": (member(1, admin_state_up=False),)}),
        WAITS,
        f"{P}/members",
        "administratively down",
    ),
    "unused pool": (tree((), (pool(),)), WAITS, P, "No listener"),
    "cookies over tcp": (
        tree((listener(protocol=TCP),), (pool(session_persistence=SRV),)),
        WAITS,
        f"{P}/session_persistence",
        "no effect",
    ),
    "policies over tcp": (
        tree((listener(protocol=TCP).with_policies([rejecting()]),), (pool(),)),
        NO,
        f"{L}/l7policies",
        "HTTP or TERMINATED_HTTPS",
    ),
    "regex of another engine": (
        policies(policy(300, L7Action.REJECT, rule(400, r"\u0041", compare=MATCHES))),
        NO,
        f"{L}/l7policies/{ident(300)}/rules/{ident(400)}/value",
        r"\u",
    ),
    "a policy without rules": (
        policies(policy(300, L7Action.REJECT)),
        WAITS,
        f"{L}/l7policies/{ident(300)}",
        "no rule",
    ),
    "a policy without rules that are up": (
        policies(policy(300, L7Action.REJECT, rule(400, "/", admin_state_up=False))),
        WAITS,
        f"{L}/l7policies/{ident(300)}",
        "no rule",
    ),
    "certificates over plain http": (
        policies(policy(300, L7Action.REJECT, HAS_CERT)),
        WAITS,
        f"{L}/l7policies/{ident(300)}/rules/{ident(400)}",
        "not encrypted",
    ),
    "too many rate limits": (
        policies(*(limiting(number) for number in range(300, 309))),
        NO,
        f"{L}/l7policies",
        "at most 8",
    ),
    "a body where none may be": (
        policies(fixed("x", status_code=204)),
        NO,
        f"{L}/l7policies/{ident(305)}/fixed_response",
        "204",
    ),
    "an empty header": (
        policies(rewriting(set_request_headers={"X-A": ""})),
        NO,
        f"{L}/l7policies/{ident(300)}/rewrite",
        "remove it",
    ),
    "panic without a monitor": (
        first({"panic_threshold": 50}),
        WAITS,
        f"{P}/panic_threshold",
        "health monitor",
    ),
    "ejection without a monitor": (
        first({"outlier_ejection": OutlierEjection()}),
        WAITS,
        f"{P}/outlier_ejection",
        "health monitor",
    ),
    "http2 over tcp": (
        tree((listener(protocol=TCP),), (pool(http2=True),)),
        WAITS,
        f"{P}/http2",
        "no effect",
    ),
    "security groups": (
        replace(FIRST, vip=replace(FIRST.vip, sg_ids=("web",))),
        NO,
        "vip_sg_ids",
        "allowed_cidrs",
    ),
    "sr-iov": (
        first({"members": (member(1, request_sriov=True),)}),
        NO,
        f"{P}/request_sriov",
        "SR-IOV",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_lack_and_each_refusal_says_where_and_why(case: str) -> None:
    made, severity, path, words = CASES[case]
    found = {(x.severity, x.path): x.reason for x in objections(made)}
    assert (severity, path) in found
    assert words in found[severity, path]


@pytest.mark.parametrize("feature", FEATURES)
def test_what_is_served_is_not_refused(feature: str) -> None:
    for made in FEATURES[feature].load_balancers:
        assert [x for x in objections(made) if x.severity is NO] == []


def test_a_complete_tree_has_no_objection() -> None:
    for made in (web(), web(TCP), web(HTTPS)):
        assert objections(made.load_balancers[0]) == ()


TO_TLS = L7Action.REDIRECT_PREFIX
ALL, SOME = rule(400, "/"), rule(400, "/a")


@pytest.mark.parametrize(
    ("found", "lacks"),
    [
        ([], "requests are answered with 503"),
        ([policy(300, TO_TLS, ALL, redirect_prefix="https://a.test")], ""),
        ([policy(300, L7Action.REJECT, rule(400, ".*", compare=MATCHES))], ""),
        ([policy(300, L7Action.REJECT, rule(400, "^/", compare=MATCHES), ALL)], ""),
        ([policy(300, L7Action.REJECT, SOME)], "requests that no L7 policy answers"),
        ([policy(300, L7Action.REJECT, ALL, SOME)], "requests that no L7 policy answers"),
        ([policy(300, L7Action.REJECT, ALL, admin_state_up=False)], "requests are answered"),
        ([policy(300, L7Action.REJECT, replace(ALL, admin_state_up=False))], "requests are"),
        ([policy(300, L7Action.REJECT, replace(ALL, invert=True))], "requests that no L7"),
        ([limiting(300)], "requests that no L7 policy answers"),
        ([policy(300, L7Action.REJECT, SOME),
          to_other(301, replace(SOME, invert=True))], ""),
        ([policy(300, L7Action.REJECT, SOME),
          to_other(301, rule(401, "/b", invert=True))], "requests that no L7 policy answers"),
    ],
)  # fmt: skip
def test_a_listener_whose_policies_answer_everything_lacks_no_pool(
    found: list[L7Policy], lacks: str
) -> None:
    made = ruled(*found, default_pool_id=None).load_balancers[0]
    said = [x.reason for x in objections(made) if x.path == f"{L}/default_pool_id"]
    assert len(said) == bool(lacks)
    assert lacks in "".join(said)


def test_what_waits_can_be_rendered() -> None:
    templates = Templates.load()
    for made, severity, *_ in CASES.values():
        if severity is WAITS:
            wanted = cluster(made)
            assert render(wanted, (), templates).generation == 7


NEVER = [
    (L7RuleType.PATH, CompareType.STARTS_WITH, "api", "begins with /"),
    (L7RuleType.PATH, CompareType.EQUAL_TO, "api", "begins with /"),
    (L7RuleType.PATH, CompareType.EQUAL_TO, "/a?b=c", "'?'"),
    (L7RuleType.PATH, CompareType.CONTAINS, "#top", "'#'"),
    (L7RuleType.PATH, CompareType.ENDS_WITH, "a b", "' '"),
    (L7RuleType.PATH, CompareType.CONTAINS, "é", "%XX"),
    (L7RuleType.FILE_TYPE, CompareType.EQUAL_TO, "tar.gz", "'.'"),
    (L7RuleType.FILE_TYPE, CompareType.EQUAL_TO, "a/b", "'/'"),
    (L7RuleType.HOST_NAME, CompareType.EQUAL_TO, "*.example.org", "use ENDS_WITH"),
    (L7RuleType.HOST_NAME, CompareType.EQUAL_TO, "https://example.org", "no '/'"),
    (L7RuleType.HOST_NAME, CompareType.EQUAL_TO, ":8080", "beside its port"),
    (L7RuleType.HOST_NAME, CompareType.CONTAINS, "büch", "Punycode"),
    (L7RuleType.HEADER, CompareType.EQUAL_TO, " x", "space"),
    (L7RuleType.HEADER, CompareType.STARTS_WITH, " x", "space"),
    (L7RuleType.HEADER, CompareType.ENDS_WITH, "x ", "space"),
]
SOMETIMES = [
    (L7RuleType.PATH, CompareType.STARTS_WITH, "/api"),
    (L7RuleType.PATH, CompareType.CONTAINS, "api"),
    (L7RuleType.PATH, CompareType.ENDS_WITH, ".php"),
    (L7RuleType.PATH, CompareType.EQUAL_TO, "/a%20b;v=1,2~x(y)!$&'*+=:@[]|^{}"),
    (L7RuleType.PATH, CompareType.REGEX, "a?b"),
    (L7RuleType.FILE_TYPE, CompareType.EQUAL_TO, ".jpg"),
    (L7RuleType.FILE_TYPE, CompareType.REGEX, "tar.gz"),
    (L7RuleType.HOST_NAME, CompareType.EQUAL_TO, "bücher.example:80"),
    (L7RuleType.HOST_NAME, CompareType.ENDS_WITH, ".bücher.example"),
    (L7RuleType.HOST_NAME, CompareType.STARTS_WITH, "www."),
    (L7RuleType.HOST_NAME, CompareType.EQUAL_TO, "2001:db8::5"),
    (L7RuleType.HEADER, CompareType.CONTAINS, " x "),
    (L7RuleType.COOKIE, CompareType.EQUAL_TO, "v"),
]


@pytest.mark.parametrize(("kind", "how", "value", "why"), NEVER)
def test_a_rule_that_can_never_hold_is_told(
    kind: L7RuleType, how: CompareType, value: str, why: str
) -> None:
    (found,) = told_of_rule(kind, how, value)
    assert found.severity is Severity.INCOMPLETE
    assert "can never hold" in found.reason
    assert why in found.reason


@pytest.mark.parametrize(("kind", "how", "value"), SOMETIMES)
def test_nothing_is_told_of_a_rule_that_can_hold(
    kind: L7RuleType, how: CompareType, value: str
) -> None:
    assert told_of_rule(kind, how, value) == []


def told_of_rule(kind: L7RuleType, how: CompareType, value: str) -> list[Objection]:
    keyed = kind in (L7RuleType.HEADER, L7RuleType.COOKIE)
    one = rule(400, value, kind, how, key="X" if keyed else None)
    (balancer,) = ruled(to_other(300, one)).load_balancers
    return [found for found in objections(balancer) if one.id in found.path]


@pytest.mark.parametrize(
    ("address", "subnet_id", "why"),
    [
        ("127.0.0.1", None, "leads to the amphora itself"),
        ("127.9.0.1", ident(7), "leads to the amphora itself"),
        ("::1", ident(7), "leads to the amphora itself"),
        ("::ffff:127.0.0.1", None, "leads to the amphora itself"),
        ("169.254.1.1", ident(7), "one link only"),
        ("fe80::5", ident(7), "one link only"),
        (VIP, None, "an address of this load balancer itself"),
        (f"::ffff:{VIP}", None, "an address of this load balancer itself"),
        ("2001:db8::5", None, "no VIP is of IPv6"),
        ("2001:db8::5", ident(7), ""),
        ("10.0.0.5", None, ""),
        ("::ffff:10.0.0.5", None, ""),
        ("192.0.2.5", ident(7), ""),
    ],
)
def test_a_member_that_no_amphora_can_reach_is_told(
    address: str, subnet_id: str | None, why: str
) -> None:
    one = replace(member(1, address), subnet_id=subnet_id)
    balancer = tree((listener(100),), (pool(members=(one,)),), vip=VIP)
    found = [x.reason for x in objections(balancer) if one.id in x.path]
    assert len(found) == bool(why)
    assert all("cannot be reached" in reason and why in reason for reason in found)


def test_an_additional_vip_of_the_other_version_opens_the_way() -> None:
    one = replace(member(1, "2001:db8::5"), subnet_id=None)
    balancer = tree((listener(100),), (pool(members=(one,)),), vip=VIP)
    more = replace(balancer.vip, address="2001:db8:1::7", port_id=ident(9), subnet_id=ident(8))
    balancer = replace(balancer, additional_vips=(more,))
    assert [x for x in objections(balancer) if one.id in x.path] == []

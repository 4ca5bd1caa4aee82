# SPDX-License-Identifier: Apache-2.0
"""The attributes of the wire contract, one row each: B.4 to B.9 in the order of those pages.

A row says what is taken and shown, what is refused and in which words, what holds when nothing is
said, whether the attribute can be changed, and what null makes of it then. The provider is noop,
which has no opinion of its own.
"""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests.contract.api_client import Api, api
from tests.fakes.network import PRIVATE_SUBNET

__all__ = ["api"]

ID = "6f1de8a5-1b4c-4a63-9a1e-0d7c5ab1c0de"
UNDASHED = ID.replace("-", "")
LONG, LONGEST = "x" * 256, "x" * 255
FIXED = "fixed"  # it can be given on create alone
UNKNOWN = "Unknown attribute for argument"
UNSET = {"": None}  # how a reference that is the empty text is shown


class Row(msgspec.Struct, frozen=True):
    noun: str
    name: str
    good: list[Any]  # what is taken, and shown as it was given...
    default: Any  # what is shown when nothing was said; ... when that is another row's business
    bad: list[tuple[Any, str]]  # what is refused with 400, and words of the refusal
    null: Any  # FIXED, or what null resets to on PUT, or an Exception class for 400
    along: dict[str, Any] = {}  # attributes without which this one makes no sense
    shown: dict[str, Any] = {}  # ...or as this, by its text


class Refused(Exception):
    """Marks a null that is refused."""


def wrong(name: str, value: Any) -> str:
    return f"Invalid input for field/attribute {name}. Value: '{value}'."


def of_every(noun: str, *, named: bool = True) -> list[Row]:
    """What each noun has (B.1)."""
    rows = [
        Row(noun, "admin_state_up", [True, False, "true"], True,
            [("maybe", wrong("admin_state_up", "maybe"))], False, shown={"true": True}),
        Row(noun, "tags", [["a", "b"], [str(n) for n in range(1000)], []], [],
            [("a", wrong("tags", "a")), ([LONG], "attribute tags. Value: 'xxx")], []),
    ]  # fmt: skip
    if named:
        bad = [(LONG, "attribute name. Value: 'xxx"), (5, wrong("name", 5))]
        rows.insert(0, Row(noun, "name", ["n", "", LONGEST], "", bad, ""))
    return rows


def described(noun: str) -> Row:
    return Row(noun, "description", ["d", "", LONGEST], "", [(LONG, "description")], "")


TLS = {"protocol": "TERMINATED_HTTPS", "default_tls_container_ref": "cert-1"}
CLIENT_CA = TLS | {"client_ca_tls_container_ref": "ca-1"}
HTTP11 = {"http_version": 1.1}
TIMES = (("timeout_client_data", 50000), ("timeout_member_connect", 5000),
         ("timeout_member_data", 50000), ("timeout_tcp_inspect", 0))  # fmt: skip

LOAD_BALANCER = [
    *of_every("loadbalancer"), described("loadbalancer"),
    Row("loadbalancer", "project_id", ["p1"], "default", [("x" * 37, "project_id")], FIXED),
    Row("loadbalancer", "tenant_id", ["p1"], "default", [("x" * 37, "tenant_id")], FIXED),
    Row("loadbalancer", "vip_address", ["10.0.0.9", "2001:DB8::9"], ...,
        [("10.0.0.300", wrong("vip_address", "10.0.0.300"))], FIXED,
        ),
    Row("loadbalancer", "vip_port_id", [ID, UNDASHED], ..., [("x", wrong("vip_port_id", "x"))],
        FIXED, shown={UNDASHED: ID}),
    Row("loadbalancer", "vip_network_id", [ID], ..., [("x", wrong("vip_network_id", "x"))], FIXED),
    Row("loadbalancer", "vip_subnet_id", [ID], ..., [("x", wrong("vip_subnet_id", "x"))], FIXED),
    Row("loadbalancer", "vip_qos_policy_id", [ID], None,
        [("x", wrong("vip_qos_policy_id", "x"))], None),
    Row("loadbalancer", "vip_sg_ids", [[ID], []], [], [(["x"], "vip_sg_ids")], []),
    Row("loadbalancer", "additional_vips",
        [[{"subnet_id": ID, "ip_address": "10.1.0.9", "port_id": ID}], []], [],
        [([{}], "Invalid input for field/attribute subnet_id. Mandatory field missing."),
         ([{"subnet_id": ID, "ip_address": "x"}], wrong("ip_address", "x")),
         ([{"subnet_id": ID}, {"subnet_id": ID}], "on different subnets")],
        FIXED, along={"vip_network_id": ID}),
    Row("loadbalancer", "provider", ["amphora", "octavia", "noop"], ...,
        [("magic", "Provider 'magic' is not enabled."), ("x" * 65, "provider")], FIXED),
    Row("loadbalancer", "flavor_id", [], None, [("x", wrong("flavor_id", "x")),
        (ID, f"Flavor {ID} not found.")], FIXED),
    Row("loadbalancer", "availability_zone", [], None, [(LONG, "availability_zone"),
        ("moon", "moon")], FIXED),
    Row("loadbalancer", "deletion_protection", [True, False], False, [("maybe", "maybe")], False),
]  # fmt: skip

LISTENER = [
    *of_every("listener"), described("listener"),
    Row("listener", "loadbalancer_id", [], ..., [("x", wrong("loadbalancer_id", "x")),
        (None, "loadbalancer_id")], FIXED),
    Row("listener", "protocol", ["TCP", "HTTP", "HTTPS", "UDP", "SCTP", "PROMETHEUS"], ...,
        [("FTP", wrong("protocol", "FTP") + " Value should be one of: TCP, HTTP, HTTPS, "
          "TERMINATED_HTTPS, UDP, SCTP, PROMETHEUS"),
         ("TERMINATED_HTTPS", "An SNI or default certificate container reference must")], FIXED),
    Row("listener", "protocol_port", [1, 65535], ...,
        [(0, wrong("protocol_port", 0)), (65536, wrong("protocol_port", 65536)),
         (None, "protocol_port")], FIXED),
    Row("listener", "connection_limit", [-1, 0, 100000], -1,
        [(-2, wrong("connection_limit", -2)), ("many", "connection_limit")], -1),
    Row("listener", "default_pool_id", [], None, [("x", wrong("default_pool_id", "x"))], None),
    Row("listener", "default_tls_container_ref", ["cert-2", "http://b/v1/secrets/1"], None,
        [(LONG, "default_tls_container_ref")], Refused, along=TLS),
    Row("listener", "sni_container_refs", [["a", "b"], ["", "c"], []], [],
        [("a", wrong("sni_container_refs", "a")), ([LONG], "sni_container_refs")], [], along=TLS,
        shown={"['', 'c']": ["c"]}),
    Row("listener", "default_tls_container_ref", ["cert-2", ""], None, [], None,
        along=TLS | {"sni_container_refs": ["sni"]}, shown=UNSET),
    Row("listener", "client_ca_tls_container_ref", ["ca", ""], None, [(LONG, "client_ca")], None,
        along=TLS, shown=UNSET),
    Row("listener", "client_authentication", ["NONE", "OPTIONAL", "MANDATORY"], "NONE",
        [("SOME", "Value should be one of: NONE, OPTIONAL, MANDATORY")], "NONE", along=CLIENT_CA),
    Row("listener", "client_crl_container_ref", ["crl", ""], None, [(LONG, "client_crl")], None,
        along=CLIENT_CA, shown=UNSET),
    Row("listener", "insert_headers",
        [{"X-Forwarded-For": "true"}, {"X-Forwarded-Port": "false"}, {"X-Forwarded-Proto": "True"},
         {"X-Forwarded-IP": "true"}, {"X-Client-IP": "true"}, {"X-Real-IP": "true"}, {}], {},
        [({"X-Other": "true"}, "X-Other is not a valid option for insert_headers"),
         ({"X-SSL-Client-DN": "true"}, "X-SSL-Client-DN is not a valid option"),
         ({"X-Real-IP": "yes"}, "yes is not a valid option"), ("x", "insert_headers")], {}),
    Row("listener", "insert_headers",
        [{name: "true"} for name in ("X-SSL-Client-Verify", "X-SSL-Client-Has-Cert",
         "X-SSL-Client-DN", "X-SSL-Client-CN", "X-SSL-Issuer", "X-SSL-Client-SHA1",
         "X-SSL-Client-Not-Before", "X-SSL-Client-Not-After")], {}, [], {}, along=TLS),
    *(Row("listener", name, [0, 2073600000], default,
          [(-1, wrong(name, -1)), (2073600001, wrong(name, 2073600001))], default)
      for name, default in TIMES),
    Row("listener", "allowed_cidrs", [["198.51.100.7/24", "10.0.0.0/8"], []], None,
        [(["10.0.0.0/33"], "Value should be IPv4 or IPv6 CIDR format"),
         (["2001:db8::/32"], "of an IP version that no VIP has"), ("x", "allowed_cidrs")], None,
        shown={"['198.51.100.7/24', '10.0.0.0/8']": ["198.51.100.0/24", "10.0.0.0/8"],
               "[]": None}),
    Row("listener", "tls_ciphers", ["ECDHE-RSA-AES128-GCM-SHA256:!aNULL"], None,
        [("a b", "tls_ciphers"), ("x" * 2049, "tls_ciphers")], ..., along=TLS),
    Row("listener", "tls_versions", [["TLSv1.3"], ["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"]], None,
        [([], "tls_versions"), (["TLSv9"], "Value should be one of: SSLv3"),
         (["TLSv1.3", "TLSv1.3"], "twice")], ["TLSv1.2", "TLSv1.3"], along=TLS),
    Row("listener", "alpn_protocols", [["h2"], ["http/1.1", "http/1.0"]], None,
        [([], "alpn_protocols"), (["spdy"], "Value should be one of: h2, http/1.1, http/1.0")],
        ["h2", "http/1.1", "http/1.0"], along=TLS),
    Row("listener", "hsts_max_age", [0, 31536000], None, [(-1, wrong("hsts_max_age", -1))], None,
        along=TLS),
    Row("listener", "hsts_max_age", [], None, [(5, "goes with TERMINATED_HTTPS")], ...),
    Row("listener", "hsts_include_subdomains", [True, False], False, [("x", "hsts_include")],
        False, along=TLS | {"hsts_max_age": 5}),
    Row("listener", "hsts_preload", [True, False], False, [("x", "hsts_preload")], False,
        along=TLS | {"hsts_max_age": 5}),
    Row("listener", "hsts_preload", [], False, [(True, "needs hsts_max_age")], ..., along=TLS),
]  # fmt: skip

POOL = [
    *of_every("pool"), described("pool"),
    Row("pool", "protocol", ["TCP", "HTTP", "HTTPS", "PROXY", "PROXYV2", "UDP", "SCTP"], ...,
        [("TLS", "Value should be one of: TCP, HTTP, HTTPS, PROXY, PROXYV2, UDP, SCTP"),
         (None, "protocol")], FIXED),
    Row("pool", "lb_algorithm",
        ["ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"], ...,
        [("RANDOM", wrong("lb_algorithm", "RANDOM") + " Value should be one of: ROUND_ROBIN, "
          "LEAST_CONNECTIONS, SOURCE_IP, SOURCE_IP_PORT")], Refused),
    Row("pool", "session_persistence",
        [{"type": "SOURCE_IP"}, {"type": "HTTP_COOKIE"},
         {"type": "APP_COOKIE", "cookie_name": "c"}],
        None,
        [({"type": "LUCK"}, "Value should be one of: SOURCE_IP, HTTP_COOKIE, APP_COOKIE"),
         ({}, "Invalid input for field/attribute type. Mandatory field missing."),
         ({"type": "APP_COOKIE"}, "cookie_name"),
         ({"type": "APP_COOKIE", "cookie_name": ""}, "cookie_name"),
         ({"type": "HTTP_COOKIE", "cookie_name": "c"}, "cookie_name"),
         ({"type": "APP_COOKIE", "cookie_name": "a b"}, "cookie_name"),
         ({"type": "APP_COOKIE", "cookie_name": "a;b"}, "cookie_name"),
         ({"type": "APP_COOKIE", "cookie_name": LONG}, "cookie_name"),
         ({"type": "SOURCE_IP", "persistence_timeout": 5}, "goes with UDP and SCTP pools alone")],
        None),
    Row("pool", "session_persistence",
        [{"type": "SOURCE_IP", "persistence_timeout": 5,
          "persistence_granularity": "255.255.255.0"}], None,
        [({"type": "HTTP_COOKIE"}, "must be SOURCE_IP for UDP and SCTP pools")], None,
        along={"protocol": "UDP"}),
    Row("pool", "tls_enabled", [True, False], False, [("x", "tls_enabled")], False),
    Row("pool", "tls_container_ref", ["cert", ""], None, [(LONG, "tls_container_ref")], None,
        shown=UNSET),
    Row("pool", "ca_tls_container_ref", ["ca", ""], None, [(LONG, "ca_tls")], None, shown=UNSET),
    Row("pool", "crl_container_ref", ["crl", ""], None, [(LONG, "crl_container_ref")], None,
        along={"ca_tls_container_ref": "ca"}, shown=UNSET),
    Row("pool", "crl_container_ref", [], None, [("crl", "needs a ca_tls_container_ref")], ...),
    Row("pool", "tls_ciphers", ["AES128-SHA"], None, [("a b", "tls_ciphers")], ...,
        along={"tls_enabled": True}),
    Row("pool", "tls_versions", [["TLSv1.2"]], None, [([], "tls_versions")],
        ["TLSv1.2", "TLSv1.3"], along={"tls_enabled": True}),
    Row("pool", "alpn_protocols", [["h2", "http/1.1"]], None, [([], "alpn_protocols")], ...,
        along={"tls_enabled": True}),
]  # fmt: skip

MEMBER = [
    *of_every("member"),
    Row("member", "address", ["10.1.0.1", "2001:db8::1", "2001:DB8:0::2"], ...,
        [("x", wrong("address", "x")), (None, "address"),
         ("169.254.169.254", "169.254.169.254 is not a valid option for member address")], FIXED),
    Row("member", "protocol_port", [1, 65535], ...,
        [(0, wrong("protocol_port", 0)), (65536, wrong("protocol_port", 65536))], FIXED),
    Row("member", "weight", [0, 256, "7"], 1, [(-1, wrong("weight", -1)), (257, "weight")], 1,
        shown={"7": 7}),
    Row("member", "backup", [True, False], False, [("x", "backup")], False),
    Row("member", "subnet_id", [ID], None, [("x", wrong("subnet_id", "x"))], FIXED),
    Row("member", "monitor_address", ["10.0.0.1", "::1"], None, [("x", "monitor_address")], None),
    Row("member", "monitor_port", [1, 65535], None, [(0, "monitor_port")], None),
    Row("member", "request_sriov", [], ..., [("x", "request_sriov")], FIXED),
]  # fmt: skip

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"]
HEALTH_MONITOR = [
    *of_every("healthmonitor"),
    Row("healthmonitor", "description", [], ..., [("d", UNKNOWN)], FIXED),
    Row("healthmonitor", "type", ["HTTP", "HTTPS", "PING", "TCP", "TLS-HELLO"], ...,
        [("X", wrong("type", "X") + " Value should be one of: HTTP, HTTPS, PING, TCP, TLS-HELLO, "
          "UDP-CONNECT, SCTP"), ("UDP-CONNECT", "HTTP pool"), ("SCTP", "HTTP pool")], FIXED),
    Row("healthmonitor", "delay", [0, 600], ..., [(-1, "delay"), (None, "delay")], Refused),
    Row("healthmonitor", "timeout", [0, 600], ..., [(-1, "timeout")], Refused),
    Row("healthmonitor", "max_retries", [1, 10], ...,
        [(0, "max_retries"), (11, "max_retries")], Refused),
    Row("healthmonitor", "max_retries_down", [1, 10], 3,
        [(0, "max_retries_down"), (11, "max_retries_down")], 3),
    Row("healthmonitor", "http_method", METHODS, "GET",
        [("BREW", wrong("http_method", "BREW") + " Value should be one of: " + ", ".join(METHODS))],
        "GET"),
    Row("healthmonitor", "url_path", ["/", "/a?b=c#d", "/?x=1", "/#f"], "/",
        [(bad, "url_path") for bad in
         ("a", "/a b", "http://x/", "//x/y", "/a\nb", "/a\n", "/\u200b", "")], "/"),
    Row("healthmonitor", "expected_codes", ["200", "200,202", "200, 202", "200-204"], "200",
        [(bad, "expected_codes") for bad in
         ("2xx", "200-", "20", "204-200", "200,", "200\n", "099", "600")], "200"),
    Row("healthmonitor", "http_version", [1.0, 1.1, "1.1"], None,
        [(2.0, "Value should be one of: 1.0, 1.1")], None, shown={"1.1": 1.1}),
    Row("healthmonitor", "domain_name", ["example.org", "a", "example.com.", "_http.a", "x" * 63],
        None,
        [(bad, "domain_name") for bad in
         ("-a", "a-", "a b", "", ".", "a..b", "a_b", "a\n", "b\u00fccher.org", "x" * 64, LONG)],
        None, along=HTTP11),
    Row("healthmonitor", "domain_name", [], None, [("example.org", "http_version 1.1")], ...),
    Row("healthmonitor", "url_path", [], None, [("/x", "only go with types HTTP and HTTPS")], ...,
        along={"type": "TCP"}),
]  # fmt: skip

URL = {"action": "REDIRECT_TO_URL", "redirect_url": "https://example.org/"}
L7POLICY = [
    *of_every("l7policy"), described("l7policy"),
    Row("l7policy", "listener_id", [], ..., [("x", wrong("listener_id", "x"))], FIXED),
    Row("l7policy", "action", ["REJECT"], ...,
        [("DROP", "Value should be one of: REJECT, REDIRECT_TO_URL, REDIRECT_TO_POOL, "
          "REDIRECT_PREFIX"), ("REDIRECT_TO_URL", "redirect_url"),
         ("REDIRECT_TO_POOL", "redirect_pool_id"), ("REDIRECT_PREFIX", "redirect_prefix")], ...),
    Row("l7policy", "position", [], ...,
        [(0, wrong("position", 0)), (2147483648, wrong("position", 2147483648))], ...),
    Row("l7policy", "redirect_url", ["http://e.org", "https://e.org/p?q"], None,
        [("ftp://e.org", "http or https"), ("/p", "http or https"), ("http://e.org/a b", "spaces"),
         ("http://" + LONG, "redirect_url")], Refused, along=URL),
    Row("l7policy", "redirect_prefix", ["http://e.org/p"], None, [("e.org", "http or https")],
        Refused, along={"action": "REDIRECT_PREFIX"}),
    Row("l7policy", "redirect_http_code", [301, 302, 303, 307, 308], None,
        [(300, "redirect_http_code"), ("x", "redirect_http_code")], 302, along=URL),
    Row("l7policy", "redirect_pool_id", [], None, [("x", wrong("redirect_pool_id", "x"))], ...),
]  # fmt: skip

L7RULE = [
    *of_every("rule", named=False),
    Row("rule", "name", [], ..., [("n", UNKNOWN)], FIXED),
    Row("rule", "type", ["HOST_NAME", "PATH", "FILE_TYPE"], ...,
        [("IP", wrong("type", "IP") + " Value should be one of: HOST_NAME, PATH, FILE_TYPE, "
          "HEADER, COOKIE, SSL_CONN_HAS_CERT, SSL_VERIFY_RESULT, SSL_DN_FIELD"),
         ("HEADER", "key must name"), ("COOKIE", "key must name"),
         ("SSL_DN_FIELD", "key must name"), ("SSL_CONN_HAS_CERT", "value must be True"),
         ("SSL_VERIFY_RESULT", "value must be a whole number")], Refused),
    Row("rule", "compare_type", ["REGEX", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "EQUAL_TO"], ...,
        [("LIKE", "Value should be one of: REGEX, STARTS_WITH, ENDS_WITH, CONTAINS, EQUAL_TO")],
        Refused, along={"type": "PATH"}),
    Row("rule", "compare_type", ["REGEX", "EQUAL_TO"], ...,
        [(x, "does not go with type FILE_TYPE") for x in ("STARTS_WITH", "ENDS_WITH", "CONTAINS")],
        ..., along={"type": "FILE_TYPE"}),
    Row("rule", "key", ["X-Key", LONGEST], None,
        [(LONG, "key"), ("a b", "key"), ("a\r\nb", "key"), ("", "key")], Refused,
        along={"type": "HEADER"}),
    Row("rule", "key", [], None, [("k", "does not go with type SSL_CONN_HAS_CERT")], ...,
        along={"type": "SSL_CONN_HAS_CERT", "value": "True"}),
    Row("rule", "value", ["/v", LONGEST], ...,
        [(LONG, "value"), ("a\nb", "value"), ("", "value"), (None, "value")], Refused),
    Row("rule", "value", ["^/v[0-9]+$"], ..., [("(", "value is not a regular expression")],
        ..., along={"compare_type": "REGEX"}),
    Row("rule", "value", ["v"], ..., [('a;b', "value of a cookie")], ...,
        along={"type": "COOKIE", "key": "k"}),
    Row("rule", "value", ["True", "true"], ..., [("False", "must be True")], ...,
        along={"type": "SSL_CONN_HAS_CERT"}),
    Row("rule", "value", ["0", "18"], ..., [("-1", "whole number"), ("x", "whole number")], ...,
        along={"type": "SSL_VERIFY_RESULT"}),
    Row("rule", "invert", [True, False], False, [("x", "invert")], False),
]  # fmt: skip

ROWS = {
    "loadbalancer": LOAD_BALANCER,
    "listener": LISTENER,
    "pool": POOL,
    "member": MEMBER,
    "healthmonitor": HEALTH_MONITOR,
    "l7policy": L7POLICY,
    "rule": L7RULE,
}


class Bench:
    """Makes one object after the other, with what each needs around it."""

    def __init__(self, api: Api, root: Any, listener: Any, policy: Any) -> None:
        self._api = api
        self._root, self._listener, self._policy = root, listener, policy
        self._pool: Any = None
        self._numbers = itertools.count(1)

    @classmethod
    async def make(cls, api: Api, provider: str = "noop") -> "Bench":
        root = await api.load_balancer(provider)
        listener = await api.listener(root, protocol_port=65000)
        wish = {"listener_id": listener["id"], "action": "REJECT"}
        policy = (await api.post("l7policies", {"l7policy": wish}))["l7policy"]
        return cls(api, root, listener, policy)

    async def place(self, noun: str) -> tuple[str, dict[str, Any]]:
        """Where to POST, and what the object must have."""
        number = next(self._numbers)
        if noun in ("member", "healthmonitor"):
            self._pool = await self._api.pool(self._root)
        bodies: dict[str, Callable[[], dict[str, Any]]] = {
            "loadbalancer": lambda: {
                "vip_subnet_id": PRIVATE_SUBNET, "provider": self._root["provider"],
            },
            "listener": lambda: {
                "loadbalancer_id": self._root["id"], "protocol": "HTTP", "protocol_port": number,
            },
            "pool": lambda: {
                "loadbalancer_id": self._root["id"], "protocol": "HTTP",
                "lb_algorithm": "ROUND_ROBIN",
            },
            "member": lambda: {"address": "10.0.0.11", "protocol_port": 80},
            "healthmonitor": lambda: {
                "pool_id": self._pool["id"], "type": "HTTP", "delay": 1, "timeout": 1,
                "max_retries": 1,
            },
            "l7policy": lambda: {"listener_id": self._listener["id"], "action": "REJECT"},
            "rule": lambda: {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/x"},
        }  # fmt: skip
        paths = {
            "l7policy": "l7policies",
            "member": f"pools/{(self._pool or {}).get('id')}/members",
            "rule": f"l7policies/{self._policy['id']}/rules",
        }
        return paths.get(noun, f"{noun}s"), bodies[noun]()

    async def create(self, noun: str, wish: dict[str, Any], status: int = 201) -> Any:
        path, body = await self.place(noun)
        answer = await self._api.post(path, {noun: body | wish}, status)
        if status != 201:
            return answer["faultstring"]
        return answer[noun] | {"path": f"{path}/{answer[noun]['id']}"}

    async def status(self, noun: str, wish: dict[str, Any]) -> tuple[int, str]:
        """How a create ends, whichever way; what was made is gone again."""
        path, body = await self.place(noun)
        answer = await self._api.client.post(f"/v2/lbaas/{path}", json={noun: body | wish})
        if answer.status_code == 201:
            await self.remove(answer.json()[noun] | {"path": f"{path}/{answer.json()[noun]['id']}"})
        return answer.status_code, answer.text

    async def change(self, noun: str, made: Any, wish: dict[str, Any], status: int = 200) -> Any:
        answer = await self._api.put(made["path"], {noun: wish}, status)
        return answer[noun] if status == 200 else answer["faultstring"]

    async def remove(self, made: Any) -> None:
        if made.get("deletion_protection"):
            await self._api.put(made["path"], {"loadbalancer": {"deletion_protection": False}})
        await self._api.delete(made["path"])


def shows(row: Row, value: Any) -> Any:
    return row.shown.get(str(value), value)


def looks(row: Row, made: Any) -> Any:
    """The attribute in the answer; session persistence comes with all that it may have."""
    found = made[row.name]
    if row.name == "session_persistence" and found is not None:
        return {name: value for name, value in found.items() if value is not None}
    return found


async def check_created(bench: Bench, row: Row) -> None:
    for value in row.good:
        made = await bench.create(row.noun, row.along | {row.name: value})
        assert looks(row, made) == shows(row, value), (row.name, value)
        await bench.remove(made)
    for value, text in row.bad:
        said = await bench.create(row.noun, row.along | {row.name: value}, 400)
        assert text in said, (row.name, value)


async def check_default(bench: Bench, row: Row) -> None:
    if row.default is not ... and not row.along:
        made = await bench.create(row.noun, {})
        assert made[row.name] == row.default, row.name
        await bench.remove(made)


async def check_changed(bench: Bench, row: Row) -> None:
    value = row.good[0] if row.good else None
    needed = {row.name: value} if row.good and row.null in (Refused, ...) else {}
    made = await bench.create(row.noun, row.along | needed if row.null is not FIXED else {})
    if row.null == FIXED:
        said = await bench.change(row.noun, made, {row.name: value}, 400)
        assert f"{UNKNOWN} {row.noun}: {row.name}" in said, row.name
        await bench.remove(made)
        return
    for value, text in row.bad:
        if value is not None and value not in ("UDP-CONNECT", "SCTP"):
            said = await bench.change(row.noun, made, {row.name: value}, 400)
            assert text in said or row.name in said, (row.name, value)
    for value in row.good:
        after = await bench.change(row.noun, made, {row.name: value})
        assert looks(row, after) == shows(row, value), (row.name, value)
    if row.null is Refused:
        await bench.change(row.noun, made, {row.name: None}, 400)
    elif row.null is not ...:
        after = await bench.change(row.noun, made, {row.name: None})
        assert looks(row, after) == row.null, row.name
    await bench.remove(made)


CHECKS: list[Callable[[Bench, Row], Awaitable[None]]] = [
    check_created,
    check_default,
    check_changed,
]


@pytest.mark.parametrize("noun", list(ROWS))
async def test_each_attribute_is_as_the_contract_says(api: Api, noun: str) -> None:
    bench = await Bench.make(api)
    wrongs = []
    for row in ROWS[noun]:
        for check in CHECKS:
            try:
                await check(bench, row)
            except AssertionError as error:
                wrongs.append(f"{row.name} ({check.__name__}): {str(error)[:300]}")
    assert not wrongs, "\n".join(wrongs)


# What haproxy cannot serve; every other value of the contract it can.
UNSERVED = {
    ("loadbalancer", "vip_sg_ids", str([ID])),
    ("listener", "protocol", "UDP"),
    ("listener", "protocol", "SCTP"),
    ("pool", "protocol", "UDP"),
    ("pool", "protocol", "SCTP"),
    ("pool", "lb_algorithm", "SOURCE_IP_PORT"),
    ("healthmonitor", "type", "PING"),
}


# What names something that the network does not have.
OF_NETWORK = {
    "vip_address", "vip_port_id", "vip_network_id", "vip_subnet_id", "additional_vips", "subnet_id",
}  # fmt: skip


@pytest.mark.parametrize("noun", list(ROWS))
async def test_a_bad_value_is_the_callers_fault_and_only_what_cannot_be_served_is_not(
    api: Api, noun: str
) -> None:
    bench = await Bench.make(api, "amphora")
    wrongs, unserved = [], set()
    for row in ROWS[noun]:
        for value, _ in row.bad:
            status, text = await bench.status(noun, row.along | {row.name: value})
            if status != 400:
                wrongs.append((row.name, value, status, text))
        for value in row.good if row.name not in OF_NETWORK else ():
            status, text = await bench.status(noun, row.along | {row.name: value})
            if status == 501 and not row.along:
                unserved.add((noun, row.name, str(value)))
            elif status not in (201, 501) and "Could not retrieve certificate" not in text:
                wrongs.append((row.name, value, status, text))
    assert not wrongs, wrongs
    assert unserved == {one for one in UNSERVED if one[0] == noun}

# SPDX-License-Identifier: Apache-2.0
"""Small trees of the features beyond plain balancing: L7 policies, and what only we offer.

One for each, as in `haproxy_trees`, and random policies with texts as hostile as the domain lets
them be.
"""

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from colonnade.domain.errors import Invalid
from colonnade.domain.fleet import Cluster
from colonnade.domain.ids import L7PolicyId, L7RuleId, PoolId
from colonnade.domain.l7 import FixedResponse, L7Policy, L7Rule, RateLimit, Rewrite, WeightedPool
from colonnade.domain.ordering import Challenge
from colonnade.domain.pools import OutlierEjection, Pool
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.vocabulary import (
    CompareType,
    L7Action,
    L7RuleType,
    ListenerProtocol,
    MonitorType,
    Observed,
)
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.protocol import Severity
from tests.haproxy_trees import (
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

PATH, HEADER = L7RuleType.PATH, L7RuleType.HEADER
BEGINS, EQUALS, MATCHES = CompareType.STARTS_WITH, CompareType.EQUAL_TO, CompareType.REGEX
OTHER = PoolId(ident(201))


def rule(
    number: int,
    value: str,
    kind: L7RuleType = PATH,
    compare: CompareType = BEGINS,
    **more: Any,
) -> L7Rule:
    return L7Rule(id=L7RuleId(ident(number)), type=kind, compare_type=compare, value=value, **more)


def policy(number: int, action: L7Action, *rules: L7Rule, **more: Any) -> L7Policy:
    return L7Policy(id=L7PolicyId(ident(number)), action=action, rules=rules, **more)


def ruled(*policies: L7Policy, pools: tuple[Pool, ...] = (), **of_listener: Any) -> Cluster:
    """One HTTP listener with these policies, its default pool and a second one."""
    front = listener(**of_listener).with_policies(policies)
    pools = pools or (pool(), pool(201, members=(member(3),)))
    return cluster(tree((front,), pools))


def to_other(number: int, *rules: L7Rule, **more: Any) -> L7Policy:
    return policy(number, L7Action.REDIRECT_TO_POOL, *rules, redirect_pool_id=OTHER, **more)


def watched(**of_pool: Any) -> Cluster:
    return web(health_monitor=monitor(MonitorType.TCP), **of_pool)


ALL_RULES = (
    rule(401, "WWW.Example.org", L7RuleType.HOST_NAME, EQUALS),
    rule(402, "example.org", L7RuleType.HOST_NAME, CompareType.ENDS_WITH, invert=True),
    rule(403, "/a b'\"\\$#", PATH, CompareType.CONTAINS),
    rule(404, "^/(a|b)[0-9]{1,3}$", PATH, MATCHES),
    rule(405, "jpg", L7RuleType.FILE_TYPE, EQUALS),
    rule(406, "^(png|gif)$", L7RuleType.FILE_TYPE, MATCHES),
    rule(407, "-i", HEADER, EQUALS, key="X-'Odd"),
    rule(408, "abc", L7RuleType.COOKIE, BEGINS, key="session"),
    rule(409, "True", L7RuleType.SSL_CONN_HAS_CERT, EQUALS),
    rule(410, "0", L7RuleType.SSL_VERIFY_RESULT, EQUALS),
    rule(411, "us", L7RuleType.SSL_DN_FIELD, EQUALS, key="CN", invert=True),
    rule(412, "down", PATH, EQUALS, admin_state_up=False),
)
SHARED_OUT = (
    WeightedPool(pool_id=PoolId(ident(200)), weight=95),
    WeightedPool(pool_id=OTHER, weight=5),
)
REWRITE = Rewrite(
    set_request_headers={"X-Team": "100% %[src] 'red'"},
    remove_request_headers=("Cookie",),
    set_response_headers={"X-Seen": "yes"},
    remove_response_headers=("Server",),
    path_prefix="/old",
    path_replacement="/new",
)


def fixed(body: str = 'it\'s 100%\r\n"quoted" \\ $HOME #', **more: Any) -> L7Policy:
    response = FixedResponse(body=body, **more)
    return policy(305, L7Action.FIXED_RESPONSE, rule(401, "/"), fixed_response=response)


def asked(cluster: Cluster) -> Cluster:
    names = ("shop.example.org", "www.shop.example.org")
    return replace(cluster, challenge=Challenge(thumbprint="Thumb-_1", host_names=names))


EXTRAS: dict[str, Cluster] = {
    # On the port where issuers ask, before any policy, and for these names alone.
    "challenge": asked(ruled(policy(300, L7Action.REJECT, rule(400, "/")), protocol_port=80)),
    "challenge-elsewhere": asked(ruled(protocol_port=8080)),
    "l7-all-rules": ruled(policy(300, L7Action.REJECT, *ALL_RULES)),
    "l7-order": ruled(
        policy(300, L7Action.REWRITE, rule(400, "/"), rewrite=REWRITE),
        to_other(301, rule(401, "/")),
        policy(302, L7Action.REDIRECT_TO_URL, rule(402, "/"), redirect_url="https://a.org/%41"),
        policy(
            303,
            L7Action.REDIRECT_PREFIX,
            rule(403, "/"),
            redirect_prefix="https://b.org",
            redirect_http_code=308,
        ),
        policy(304, L7Action.REJECT, rule(404, "/")),
        policy(305, L7Action.REJECT, rule(405, "/"), admin_state_up=False),
        policy(306, L7Action.REJECT),
    ),
    "l7-weighted": ruled(
        policy(300, L7Action.REDIRECT_TO_POOL, rule(400, "/"), redirect_pools=SHARED_OUT)
    ),
    "l7-pool-down": ruled(
        to_other(300, rule(400, "/")), pools=(pool(), pool(201, admin_state_up=False))
    ),
    "l7-no-default": ruled(to_other(300, rule(400, "/")), default_pool_id=None),
    "l7-fixed": ruled(fixed()),
    "l7-rate-limit": ruled(
        policy(300, L7Action.RATE_LIMIT, rule(400, "/"), rate_limit=RateLimit(requests=3)),
        policy(
            301,
            L7Action.RATE_LIMIT,
            rule(401, "/"),
            rate_limit=RateLimit(requests=100, seconds=60, header="X-Api-Key"),
        ),
    ),
    "l7-rewrite": ruled(policy(300, L7Action.REWRITE, rule(400, "/old"), rewrite=REWRITE)),
    "prometheus": cluster(
        tree(
            (listener(), listener(101, ListenerProtocol.PROMETHEUS, default_pool_id=None)),
            (pool(),),
        )
    ),
    "prometheus-shared": cluster(
        tree((listener(101, ListenerProtocol.PROMETHEUS, default_pool_id=None),), ()),
        tree((listener(default_pool_id=None),), (), number=11),
    ),
    "slow-start": watched(slow_start=30),
    "retries": web(retries=2),
    "no-retries": web(retries=0),
    "http2-members": watched(http2=True),
    "ejection": watched(outlier_ejection=OutlierEjection(errors=3)),
    "ejection-connections": watched(
        outlier_ejection=OutlierEjection(errors=3, observe=Observed.CONNECTIONS)
    ),
    "panic": watched(panic_threshold=50),
    "panic-tcp": web(TCP, health_monitor=monitor(MonitorType.TCP), panic_threshold=50),
    "panic-and-policies": ruled(
        to_other(300, rule(400, "/")),
        pools=(
            pool(panic_threshold=30, health_monitor=monitor(MonitorType.TCP)),
            pool(201, members=(member(3),), panic_threshold=1),
        ),
    ),
    "compression": ruled(compression=True),
}

_printable = st.text(
    alphabet=st.one_of(
        st.sampled_from(" '\"\\#$%{}[]();,=&|`~!<>*?^-.é\U0001f600"),
        st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")),
    ),
    min_size=1,
    max_size=255,
)
_tokens = st.text(alphabet="!#$%&'*+.^_`|~-azAZ09", min_size=1, max_size=64) | st.sampled_from(
    ["if", "unless", "Host", "-m"]
)
_cookie_values = st.text(alphabet="!#$%&'()*+-./:<=>?@[]^_`{|}~a0", min_size=1, max_size=255)
regexes_of_users = st.one_of(
    st.text(alphabet="ab1.^$*+?{}()[]|\\dws,-:=!<>P/ '\"#%&é\n", min_size=1, max_size=60),
    st.from_regex(r"\A(\^?(/[a-z]{1,5}|\([a-z|]{1,9}\)[*+?]?|\[\^?[a-z]-[0-9]\]\{2,30\}|\\[dwsDWS.]){1,9}\$?)\Z"),
)  # fmt: skip
_urls = _printable.map(lambda text: "https://h.example/" + text.replace(" ", ""))
_bodies = st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=1000)


@st.composite
def _rules(draw: st.DrawFn, number: int) -> L7Rule | None:
    kind, compare = draw(st.sampled_from(L7RuleType)), draw(st.sampled_from(CompareType))
    values = {
        L7RuleType.COOKIE: _cookie_values,
        L7RuleType.SSL_CONN_HAS_CERT: st.just("True"),
        L7RuleType.SSL_VERIFY_RESULT: st.integers(0, 10**30).map(str),
    }
    value = regexes_of_users if compare is MATCHES else values.get(kind, _printable)
    keys = {HEADER: _tokens, L7RuleType.COOKIE: _tokens, L7RuleType.SSL_DN_FIELD: st.just("CN")}
    key = draw(keys[kind]) if kind in keys else None
    try:
        return rule(number, draw(value), kind, compare, key=key, invert=draw(st.booleans()))
    except Invalid:
        return None


@st.composite
def _policies(draw: st.DrawFn, number: int) -> L7Policy | None:
    action = draw(st.sampled_from(L7Action))
    headers = st.dictionaries(_tokens, st.just("") | _printable, max_size=3)
    names = st.lists(_tokens, max_size=3).map(tuple)
    wishes: dict[L7Action, dict[str, st.SearchStrategy[Any]]] = {
        L7Action.REJECT: {},
        L7Action.REDIRECT_TO_URL: {"redirect_url": _urls},
        L7Action.REDIRECT_PREFIX: {"redirect_prefix": _urls},
        L7Action.REDIRECT_TO_POOL: {"redirect_pool_id": st.just(OTHER)},
        L7Action.FIXED_RESPONSE: {
            "fixed_response": st.builds(
                FixedResponse,
                status_code=st.integers(200, 599),
                content_type=_printable,
                body=_bodies,
            )
        },
        L7Action.RATE_LIMIT: {
            "rate_limit": st.builds(
                RateLimit, requests=st.integers(1, 1_000_000), header=st.none() | _tokens
            )
        },
        L7Action.REWRITE: {
            "rewrite": st.builds(
                Rewrite,
                set_request_headers=headers,
                remove_request_headers=names,
                set_response_headers=headers,
                remove_response_headers=names,
                path_prefix=_printable.map(lambda text: "/" + text.replace(" ", "")),
                path_replacement=_printable.map(lambda text: "/" + text.replace(" ", "")),
            )
        },
    }
    rules = [draw(_rules(10 * number + place)) for place in range(draw(st.integers(0, 3)))]
    try:
        wish_of_action = {name: draw(wish) for name, wish in wishes[action].items()}
        return policy(number, action, *(x for x in rules if x is not None), **wish_of_action)
    except Invalid:
        return None


@st.composite
def ruled_trees(draw: st.DrawFn) -> LoadBalancer:
    """An HTTP listener with policies, and pools with our extras, as far as nothing is refused."""
    found = [draw(_policies(300 + place)) for place in range(draw(st.integers(1, 4)))]
    extras: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {
            "slow_start": st.integers(0, 3600),
            "panic_threshold": st.integers(0, 99),
            "retries": st.none() | st.integers(0, 10),
            "http2": st.booleans(),
            "outlier_ejection": st.none()
            | st.builds(
                OutlierEjection, errors=st.integers(1, 1000), observe=st.sampled_from(Observed)
            ),
            "health_monitor": st.none() | st.just(monitor(MonitorType.TCP)),
        }
    )
    pools = (pool(**draw(extras)), pool(201, members=(member(3),), **draw(extras)))
    (made,) = ruled(*(x for x in found if x is not None), pools=pools).load_balancers
    refused = {
        objection.path.split("/")[3]
        for objection in objections(made)
        if objection.severity is Severity.INCOMPATIBLE
    }
    (front,) = made.listeners
    return made.with_listener(
        front.with_policies(p for p in front.l7policies if p.id not in refused)
    )

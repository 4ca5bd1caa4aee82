# SPDX-License-Identifier: Apache-2.0
"""L7 policies on a real haproxy: for each, requests that show it and requests that show none."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from colonnade.domain.fleet import Cluster
from colonnade.domain.l7 import FixedResponse, L7Policy, L7Rule, RateLimit, Rewrite, WeightedPool
from colonnade.domain.vocabulary import CompareType, L7Action, L7RuleType
from tests.haproxy_extras import OTHER, policy, rule, ruled, to_other
from tests.haproxy_traffic import VIP, Traffic, free_port, get, until
from tests.haproxy_trees import ident, member, pool

TYPE, COMPARE = L7RuleType, CompareType
DEFAULT = pool().id


@pytest.fixture
async def traffic() -> AsyncIterator[Traffic]:
    async with Traffic() as made:
        for name in ("plain", "other"):
            await made.member(name)
        yield made


def served(traffic: Traffic, port: int, *policies: L7Policy) -> Cluster:
    """A pool with the member `plain` by default, and one with `other`."""
    numbers = {"plain": (1, 200), "other": (2, 201)}
    pools = tuple(
        pool(
            numbers[one.name][1],
            members=(replace(member(numbers[one.name][0], VIP), protocol_port=one.port),),
        )
        for one in traffic.members
    )
    made = ruled(*policies, pools=pools, protocol_port=port)
    (balancer,) = made.load_balancers
    return replace(
        made, load_balancers=(replace(balancer, vip=replace(balancer.vip, address=VIP)),)
    )


HOST, PATH, FILE, HEADER, COOKIE = (
    TYPE.HOST_NAME,
    TYPE.PATH,
    TYPE.FILE_TYPE,
    TYPE.HEADER,
    TYPE.COOKIE,
)
# A rule; requests (path, headers) for which it holds; requests for which it does not.
Request = tuple[str, dict[str, str]]
RULES: list[tuple[L7Rule, list[Request], list[Request]]] = [
    (
        rule(1, "www.Example.org", HOST, COMPARE.EQUAL_TO),
        [("/", {"Host": "WWW.example.ORG"}), ("/", {"Host": "www.example.org:8080"})],
        [("/", {"Host": "example.org"}), ("/", {"Host": "xwww.example.org"})],
    ),
    (
        rule(1, ".example.org", HOST, COMPARE.ENDS_WITH),
        [("/", {"Host": "a.EXAMPLE.org:81"})],
        [("/", {"Host": "example.org"})],
    ),
    (
        rule(1, "^a[0-9]+[.]", HOST, COMPARE.REGEX),
        [("/", {"Host": "A12.org"})],
        [("/", {"Host": "a.org"})],
    ),
    (rule(1, "/api", PATH, COMPARE.STARTS_WITH), [("/api/x?y", {}), ("/api", {})], [("/", {})]),
    (rule(1, "/api", PATH, COMPARE.EQUAL_TO), [("/api?a=/b", {})], [("/api/", {}), ("/API", {})]),
    (rule(1, "/end", PATH, COMPARE.ENDS_WITH), [("/the/end", {})], [("/x?/end", {})]),
    (rule(1, "mid", PATH, COMPARE.CONTAINS), [("/amidst", {})], [("/x?mid", {})]),
    (rule(1, "^/(a|b)+$", PATH, COMPARE.REGEX), [("/abba", {})], [("/abc", {})]),
    (
        rule(1, "jpg", FILE, COMPARE.EQUAL_TO),
        [("/a/b.jpg?c=d.png", {}), ("/x.tar.jpg", {})],
        [("/jpg", {}), ("/a.jpg/b", {}), ("/a.jpgx", {}), ("/a.JPG", {})],
    ),
    (
        rule(1, "^(png|gif)$", FILE, COMPARE.REGEX),
        [("/a.gif", {})],
        [("/gif", {}), ("/a.giff", {}), ("/a.gif/", {})],
    ),
    (
        rule(1, "yes", HEADER, COMPARE.EQUAL_TO, key="X-Beta"),
        [("/", {"x-beta": "yes"}), ("/", {"X-Beta": " yes "})],
        [("/", {"X-Beta": "yes!"}), ("/", {"X-Beta": "no, yes"}), ("/", {})],
    ),
    (
        rule(
            1, "Mozilla/5.0 (X11, KHTML, like Gecko) v1", HEADER, COMPARE.EQUAL_TO, key="User-Agent"
        ),
        [("/", {"User-Agent": "Mozilla/5.0 (X11, KHTML, like Gecko) v1"})],
        [("/", {"User-Agent": "Mozilla/5.0 (X11"}), ("/", {"User-Agent": "like Gecko) v1"})],
    ),
    (
        rule(1, ", 27 Nov", HEADER, COMPARE.CONTAINS, key="Date"),
        [("/", {"Date": "Fri, 27 Nov 2026 14:00:00 GMT"})],
        [("/", {"Date": "Fri, 28 Nov 2026 14:00:00 GMT"})],
    ),
    (
        rule(1, "shop.example.org:8080", HOST, COMPARE.EQUAL_TO),
        [
            ("/", {"Host": "shop.example.org:8080"}),
            ("/", {"Host": "shop.example.org"}),
            ("/", {"Host": "SHOP.example.org.:8080"}),
            ("/", {"Host": "shop.example.org."}),
        ],
        [("/", {"Host": "shop.example.org.evil:8080"}), ("/", {"Host": "xshop.example.org"})],
    ),
    (
        rule(1, "dot.example.org.", HOST, COMPARE.EQUAL_TO),
        [("/", {"Host": "dot.example.org"}), ("/", {"Host": "dot.example.org.:80"})],
        [("/", {"Host": "dot.example.orgx"})],
    ),
    (
        rule(1, "[2001:db8::5]:8080", HOST, COMPARE.EQUAL_TO),
        [("/", {"Host": "[2001:db8::5]"}), ("/", {"Host": "[2001:DB8::5]:8080"})],
        [("/", {"Host": "[2001:db8::55]"})],
    ),
    (
        rule(1, ".example.net:8443", HOST, COMPARE.ENDS_WITH),
        [("/", {"Host": "a.example.net:8443"}), ("/", {"Host": "a.example.net"})],
        [("/", {"Host": "example.net"})],
    ),
    (
        rule(1, "bücher.example", HOST, COMPARE.EQUAL_TO),
        [("/", {"Host": "xn--bcher-kva.example"}), ("/", {"Host": "XN--BCHER-KVA.example:80"})],
        [("/", {"Host": "bucher.example"})],
    ),
    (
        rule(1, ":8[0-9]+$", HOST, COMPARE.REGEX),
        [("/", {"Host": "example.org:8123"})],
        [("/", {"Host": "example.org"}), ("/", {"Host": "example.org:9123"})],
    ),
    (
        rule(1, "-m", HEADER, COMPARE.STARTS_WITH, key="X-Odd'$"),
        [("/", {"X-Odd'$": "-mx"})],
        [("/", {"X-Odd'$": "m"})],
    ),
    (
        rule(1, "b' \"\\", HEADER, COMPARE.CONTAINS, key="X-Text"),
        [("/", {"X-Text": "ab' \"\\c"})],
        [("/", {"X-Text": "ab' c"})],
    ),
    (
        rule(1, "v2", COOKIE, COMPARE.EQUAL_TO, key="site"),
        [("/", {"Cookie": "a=b; site=v2"})],
        [("/", {"Cookie": "site=v1; x=v2"})],
    ),
    (rule(1, "True", TYPE.SSL_CONN_HAS_CERT, COMPARE.EQUAL_TO), [], [("/", {})]),
    (rule(1, "0", TYPE.SSL_VERIFY_RESULT, COMPARE.EQUAL_TO), [], [("/", {})]),
    (rule(1, "x", TYPE.SSL_DN_FIELD, COMPARE.EQUAL_TO, key="CN"), [], [("/", {})]),
]


async def test_each_rule_holds_for_what_it_says_and_inverted_for_the_rest(
    traffic: Traffic,
) -> None:
    """All rules at once: one policy for each, told apart by a header."""
    port, policies = free_port(), []
    for number, (tried, _, _) in enumerate(RULES):
        for turned in (False, True):
            mark = 2 * number + turned
            own = replace(tried, id=ident(1000 + mark), invert=turned)
            chosen = rule(2000 + mark, str(mark), HEADER, COMPARE.EQUAL_TO, key="X-Case")
            policies.append(to_other(3000 + mark, chosen, own))
    await traffic.serve(served(traffic, port, *policies))
    for number, (tried, holding, rest) in enumerate(RULES):
        for path, headers in [*holding, *rest]:
            holds = (path, headers) in holding
            for turned in (False, True):
                case = {"X-Case": str(2 * number + turned)}
                answer = await get(port, path, **headers, **case)
                wanted = "other" if holds is not turned else "plain"
                assert answer.by == wanted, (tried, path, headers, turned)


async def test_the_order_is_refusals_then_answers_then_pools_each_by_position(
    traffic: Traffic,
) -> None:
    port = free_port()

    def to_url(number: int, *rules: L7Rule, url: str) -> L7Policy:
        return policy(number, L7Action.REDIRECT_TO_URL, *rules, redirect_url=url)

    await traffic.serve(
        served(
            traffic,
            port,
            to_other(300, rule(400, "/")),
            to_url(301, rule(401, "/u"), url="https://first.example/%41?x=y"),
            to_url(302, rule(402, "/u"), url="https://second.example"),
            policy(303, L7Action.REJECT, rule(403, "/u/no")),
            policy(304, L7Action.REJECT, rule(404, "/"), admin_state_up=False),
            policy(305, L7Action.REJECT, rule(405, "/", admin_state_up=False)),
            policy(306, L7Action.REJECT),
        )
    )
    assert (await get(port, "/")).by == "other"
    first = await get(port, "/u/x")
    assert (first.status, first.headers["Location"]) == (302, "https://first.example/%41?x=y")
    assert (await get(port, "/u/no")).status == 403


async def test_all_rules_of_a_policy_must_hold(traffic: Traffic) -> None:
    port = free_port()
    many = [rule(400 + n, "/a") for n in range(49)]
    await traffic.serve(served(traffic, port, to_other(300, *many, rule(500, "b", invert=True))))
    assert (await get(port, "/a")).by == "other"
    assert (await get(port, "/b")).by == "plain"


@pytest.mark.parametrize(
    ("prefix", "location"),
    [
        ("https://new.example/", "https://new.example/old/x"),
        ("https://new.example/p/", "https://new.example/p/old/x"),
        ("https://new.example", "https://new.example/old/x"),
        ("https://new.example//", "https://new.example/old/x"),
    ],
)
async def test_a_redirected_prefix_makes_no_double_slash(
    traffic: Traffic, prefix: str, location: str
) -> None:
    port = free_port()
    action = L7Action.REDIRECT_PREFIX
    await traffic.serve(
        served(traffic, port, policy(300, action, rule(400, "/old"), redirect_prefix=prefix))
    )
    assert (await get(port, "/old/x")).headers["Location"] == location


@pytest.mark.parametrize(
    ("prefix", "replacement", "asked", "told"),
    [
        ("/api", "/", "/api/x", "/x"),
        ("/api", "/", "/api", "/"),
        ("/api", "/v2/", "/api/x?a=/", "/v2/x?a=/"),
        ("/api", "/v2/", "/api", "/v2/"),
        ("/api", "/v2", "/api/x", "/v2/x"),
        ("/api/", "/", "/api/x", "/x"),
        ("/api/", "/v2/", "/api/x", "/v2/x"),
    ],
)
async def test_a_rewritten_path_has_no_double_slash(
    traffic: Traffic, prefix: str, replacement: str, asked: str, told: str
) -> None:
    port = free_port()
    rewrite = Rewrite(path_prefix=prefix, path_replacement=replacement)
    await traffic.serve(
        served(traffic, port, policy(300, L7Action.REWRITE, rule(400, "/api"), rewrite=rewrite))
    )
    assert (await get(port, asked)).told["path"] == told


@pytest.mark.parametrize("code", [None, 301, 303, 307, 308])
async def test_a_redirected_prefix_keeps_path_and_query(traffic: Traffic, code: int | None) -> None:
    port = free_port()
    moved = policy(
        300,
        L7Action.REDIRECT_PREFIX,
        rule(400, "/old"),
        redirect_prefix="https://new.example/p",
        redirect_http_code=code,
    )
    await traffic.serve(served(traffic, port, moved))
    answer = await get(port, "/old/x?a=1&b=%20")
    assert answer.status == (code or 302)
    assert answer.headers["Location"] == "https://new.example/p/old/x?a=1&b=%20"
    assert (await get(port, "/x")).by == "plain"


async def test_weighted_pools_share_the_requests_by_weight(traffic: Traffic) -> None:
    port = free_port()
    group = (WeightedPool(pool_id=DEFAULT, weight=3), WeightedPool(pool_id=OTHER, weight=1))
    shared = policy(300, L7Action.REDIRECT_TO_POOL, rule(400, "/s"), redirect_pools=group)
    await traffic.serve(served(traffic, port, shared))
    seen = Counter([(await get(port, "/s")).by for _ in range(400)])
    # 100 are expected; ten standard deviations would be 87 away.
    assert 40 < seen["other"] < 160
    assert seen["plain"] + seen["other"] == 400
    assert {(await get(port, "/x")).by for _ in range(20)} == {"plain"}


async def test_a_fixed_response_is_what_was_given(traffic: Traffic) -> None:
    port = free_port()
    body = '<h1>it\'s %[src] 100%\r\n$HOME \\x41 "q" é #</h1>'
    told = FixedResponse(status_code=418, content_type="text/html; charset=utf-8", body=body)
    empty = FixedResponse(status_code=204)
    await traffic.serve(
        served(
            traffic,
            port,
            policy(300, L7Action.FIXED_RESPONSE, rule(400, "/f"), fixed_response=told),
            policy(301, L7Action.FIXED_RESPONSE, rule(401, "/e"), fixed_response=empty),
        )
    )
    answer = await get(port, "/f")
    assert (answer.status, answer.body.decode()) == (418, body)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert ((await get(port, "/e")).status, (await get(port, "/x")).by) == (204, "plain")


async def test_a_rate_limit_lets_each_client_its_share_and_no_more(traffic: Traffic) -> None:
    port = free_port()
    by_address = RateLimit(requests=3, seconds=60)
    by_key = RateLimit(requests=2, seconds=60, header="X-Key")
    await traffic.serve(
        served(
            traffic,
            port,
            policy(300, L7Action.RATE_LIMIT, rule(400, "/a"), rate_limit=by_address),
            policy(301, L7Action.RATE_LIMIT, rule(401, "/k"), rate_limit=by_key),
        )
    )
    assert [(await get(port, "/a")).status for _ in range(6)] == [200] * 3 + [429] * 3
    assert (await get(port, "/a", source="127.0.0.2")).status == 200
    assert (await get(port, "/x")).status == 200
    for key in ("one", "two"):
        found = [(await get(port, "/k", X_Key=key)).status for _ in range(4)]
        assert found == [200, 200, 429, 429]
    assert [(await get(port, "/k")).status for _ in range(3)] == [200, 200, 429]


async def test_a_rate_limit_remembers_over_a_reload(traffic: Traffic) -> None:
    port, limit = free_port(), RateLimit(requests=3, seconds=600)
    limited = policy(300, L7Action.RATE_LIMIT, rule(400, "/a"), rate_limit=limit)
    await traffic.serve(served(traffic, port, limited))
    await until(traffic.teaches)
    assert [(await get(port, "/a")).status for _ in range(4)] == [200, 200, 200, 429]
    await traffic.serve(served(traffic, port, limited, policy(301, L7Action.REJECT, rule(1, "/r"))))
    assert (await get(port, "/r")).status == 403

    async def remembered() -> bool:
        return "gpc0=3" in await traffic.say(f"show table limit:{limited.id}")

    await until(remembered)
    assert (await get(port, "/a")).status == 429


async def test_a_rewrite_changes_request_and_response_and_rules_see_the_original(
    traffic: Traffic,
) -> None:
    port = free_port()
    rewrite = Rewrite(
        set_request_headers={"X-Team": "100% %[src] 'red'"},
        remove_request_headers=("X-Secret",),
        set_response_headers={"X-Seen": "it's %T"},
        remove_response_headers=("X-Member",),
        path_prefix="/old/",
        path_replacement="/",
    )
    again = Rewrite(path_prefix="/x", path_replacement="/y")
    await traffic.serve(
        served(
            traffic,
            port,
            policy(300, L7Action.REWRITE, rule(400, "/old"), rewrite=rewrite),
            policy(301, L7Action.REWRITE, rule(401, "/x"), rewrite=again),
            to_other(302, rule(402, "/old/x")),
        )
    )
    answer = await get(port, "/old/x?a=/old/", X_Secret="s")
    assert answer.by == "other"
    assert answer.told["path"] == "/x?a=/old/"
    assert answer.told["headers"]["x-team"] == "100% %[src] 'red'"
    assert "x-secret" not in answer.told["headers"]
    assert answer.headers["X-Seen"] == "it's %T"
    assert "X-Member" not in answer.headers
    plain = await get(port, "/plain", X_Secret="s")
    assert plain.told["path"] == "/plain"
    assert plain.told["headers"]["x-secret"] == "s"
    assert (plain.headers["X-Member"], "X-Seen" in plain.headers) == ("plain", False)

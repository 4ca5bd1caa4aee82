# SPDX-License-Identifier: Apache-2.0
"""No request can stop haproxy by a regular expression that the API takes: it ends itself when one
keeps it busy for two seconds. The requests here are the worst that are known for each."""

import asyncio
import os
from pathlib import Path

import pytest

from colonnade.domain.fleet import Cluster
from colonnade.domain.l7 import L7Policy
from colonnade.domain.vocabulary import L7Action, L7RuleType
from colonnade.drivers.amphora.haproxy import l7
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import render
from colonnade.drivers.amphora.protocol import Severity
from tests.contract.test_haproxy_accepts import folder, local, running
from tests.haproxy_extras import MATCHES, policy, rule, ruled
from tests.haproxy_trees import TEMPLATES

__all__ = ["folder"]
BUSY_S_MAX = 1.5  # of processor time: haproxy ends itself when one request takes two seconds
LONG = "a" * 12_000
HOSTILE = {
    "unanchored": ("[a-z]+x", L7RuleType.PATH, f"GET /{LONG} HTTP/1.0"),
    "exponential": ("^/(a+)+$", L7RuleType.PATH, f"GET /{'a' * 1000}!{LONG} HTTP/1.0"),
    "alternatives": ("^/(a|aa)+$", L7RuleType.PATH, f"GET /{'a' * 1000}!{LONG} HTTP/1.0"),
    "two repeats": ("^/[a-z]+[0-9a-z]*x", L7RuleType.PATH, f"GET /{LONG} HTTP/1.0"),
    "optional": ("^/(?:a?){50}a{50}$", L7RuleType.PATH, f"GET /{'a' * 49} HTTP/1.0"),
    "rounds": (r"^/([a-z]+/)*x$", L7RuleType.PATH, f"GET /{'ab/' * 330}! HTTP/1.0"),
    "rounds, unanchored": (
        r"([a-z0-9-]+\.)*example\.com$",
        L7RuleType.PATH,
        f"GET /{'a.' * 500}{LONG} HTTP/1.0",
    ),
    "rounds and a rest": (r"^/(\d+,)*\d+$", L7RuleType.PATH, f"GET /{'12,' * 340}! HTTP/1.0"),
    "words": (r"(\w+\s)+$", L7RuleType.HEADER, f"GET / HTTP/1.0\r\nX: {'ab ' * 340}!"),
    "anything around": (
        ".*(bot|crawl|spider).*",
        L7RuleType.HEADER,
        f"GET / HTTP/1.0\r\nX: {'bo' * 5000}",
    ),
    "three tokens": (
        r"^Bearer [A-Za-z0-9\-_]+\.[A-Za-z0-9\-_]+\.[A-Za-z0-9\-_]+$",
        L7RuleType.HEADER,
        f"GET / HTTP/1.0\r\nX: Bearer {'a' * 400}.{'b' * 400}.!",
    ),
    "many values": ("^a+a*$", L7RuleType.HEADER, f"GET / HTTP/1.0\r\nX: {('a' * 40 + '!,') * 250}"),
    "long values": ("[a-z]+x", L7RuleType.HEADER, f"GET / HTTP/1.0\r\nX: {('a' * 999 + ',') * 12}"),
}


def refusing(text: str, kind: L7RuleType, policies: int) -> Cluster:
    key = {"key": "X"} if kind is L7RuleType.HEADER else {}
    return ruled(
        *(
            policy(1000 + n, L7Action.REJECT, rule(2000 + n, text, kind, MATCHES, **key))
            for n in range(policies)
        )
    )


def refusals(wanted: Cluster) -> list[str]:
    (tree,) = wanted.load_balancers
    return [one.reason for one in objections(tree) if one.severity is Severity.INCOMPATIBLE]


@pytest.mark.parametrize("case", HOSTILE)
async def test_as_many_as_are_taken_do_not_stop_it(case: str, folder: Path) -> None:
    text, kind, request = HOSTILE[case]
    (alone,) = refusing(text, kind, 1).load_balancers[0].listeners[0].l7policies
    taken = min(200, l7.STEPS_MAX // max(1, l7.steps(alone)))
    assert taken >= 1
    wanted = refusing(text, kind, taken)
    assert refusals(wanted) == []
    async with running(local(render(wanted, (), TEMPLATES), folder), folder) as say:
        before = await say("show info")
        busy_s = processor_s(process(before))
        assert b" 503 " in await answer(folder / "100.sock", request)
        assert process(await say("show info")) == process(before)
        assert processor_s(process(before)) - busy_s < BUSY_S_MAX


# What people write, each twenty times on one listener.
ORDINARY = [
    (L7RuleType.HEADER, text)
    for text in (
        ".*(bot|crawl|spider).*", "(?i)(bot|crawl|spider|slurp)", ".*Googlebot.*", ".*x.*",
        "Mozilla/5\\.0.*Firefox/[0-9]+", "^curl/[0-9.]+$", "^python-requests/.*",
        "Android [4-6]\\.", "(iPhone|iPad|iPod)", "MSIE [1-9]\\.", "^$",
        "^(gzip|br|deflate)",
        "application/json.*",
        r"^Bearer [A-Za-z0-9\-_]+\.[A-Za-z0-9\-_]+\.[A-Za-z0-9\-_]+$", "^Basic [A-Za-z0-9+/=]+$",
        "^https?://([a-z0-9-]+\\.)*example\\.com(/.*)?$", "^(de|en|fr)(-[A-Z]{2})?([,;].*)?$",
        r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", "^v?[0-9]+(\\.[0-9]+)*$",
        "^(10|192\\.168|172\\.(1[6-9]|2[0-9]|3[01]))\\.", r"^\d{1,3}(\.\d{1,3}){3}$",
        "^true|yes|1$",
    )
] + [
    (L7RuleType.PATH, text)
    for text in (
        "^/api/v[0-9]+/.*", "^/(api|rest)/", r"\.(jpe?g|png|gif|svg|webp|ico)$", r"\.php$",
        "/admin.*", ".*/wp-(admin|login).*", r"^/users/[0-9]+/posts/[0-9]+/?$",
        "^/static/.+\\.(js|css)$",
        r"^/[a-z]{2}(-[a-z]{2})?/", "^/(?!internal/).*", r"^/\d{4}/\d{2}/[\w-]+$", ".*\\.\\./.*",
        "^/([^/]+/)*index\\.html?$", "^/blog(/.*)?$", "^/~[a-z0-9_]+/", "(/|^)\\.(git|svn|env)",
        "^/download/[^/]+\\.(zip|tar\\.gz)$", "^/.*/edit$", "^/([a-z0-9-]+/)*$",
        "^/[A-Z0-9._%+-]+$",
    )
] + [
    (L7RuleType.HOST_NAME, text)
    for text in (
        r"^([a-z0-9-]+\.)*example\.com$", "^www\\.", r"^(www|shop|blog)\.example\.(com|org)$",
        "^[a-z0-9-]+\\.example\\.com$", "^api[0-9]*\\.", ".*\\.example\\.com",
        "^(.+\\.)?example\\.com$",
        "^pr-[0-9]+\\.preview\\.example\\.com(:[0-9]+)?$",
    )
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), ORDINARY)
def test_what_people_write_is_taken_twenty_times(kind: L7RuleType, text: str) -> None:
    assert refusals(refusing(text, kind, 20)) == []


EVIL = [
    "(a+)+$", "([a-zA-Z]+)*$", "(a|aa)+$", "(a|a?)+$", "(.*a){20}", "(x+x+)+y", "([a-z]+)*@",
    r"(\w+\s*)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a*)*b", "(a|b|ab)*c", "(.*)*x",
    "((?=.*x)a)*b(.*)(.*)c", ".*.*.*.*b",
    r"^(\w+\.?)+@", "(?:a?){30}a{30}", "((a+)?b?)*c", "[a-z]+[0-9a-z]*x", r"(\s*\S*)*$",
]  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_what_could_stop_haproxy_is_refused(text: str) -> None:
    assert any("too long" in reason for reason in refusals(refusing(text, L7RuleType.HEADER, 1)))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([("[a-z]+[0-9a-z]*x", L7RuleType.PATH)], True),  # each alone would stop haproxy
        ([("(a+)+$", L7RuleType.PATH)], True),
        ([("^(a+)+$", L7RuleType.HEADER)], True),
        ([("^(a+)+$", L7RuleType.PATH)] * 6, True),
        ([("^(a+)+$", L7RuleType.PATH)] * 5, False),
        ([(r"\.(jpe?g|png|gif)$", L7RuleType.PATH)] * 50, False),
        ([("^/api/v[0-9]+/users/[0-9]+$", L7RuleType.PATH)] * 40, False),
        ([("Mozilla.*Firefox", L7RuleType.HEADER)] * 5, False),
    ],
)
def test_what_could_take_too_long_is_refused(
    found: list[tuple[str, L7RuleType]], told: bool
) -> None:
    made: list[L7Policy] = []
    for place, (text, kind) in enumerate(found):
        (one,) = refusing(text, kind, 1).load_balancers[0].listeners[0].l7policies
        (only,) = one.rules
        made.append(policy(1000 + place, L7Action.REJECT, rule(2000 + place, text, kind, MATCHES,
                           key=only.key)))  # fmt: skip
    assert any("too long" in reason for reason in refusals(ruled(*made))) is told


async def answer(socket: Path, request: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(f"{request}\r\n\r\n".encode())
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


def process(about: str) -> int:
    line = next(line for line in about.splitlines() if line.startswith("Pid:"))
    return int(line.split()[1])


def processor_s(pid: int) -> float:
    """What the process has taken, whatever else the machine does."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

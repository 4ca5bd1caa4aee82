# SPDX-License-Identifier: Apache-2.0
"""No request can stop haproxy by a regular expression that the API takes: it ends itself when one
keeps it busy for two seconds. The requests here are the worst that are known for each."""

import asyncio
import time
from pathlib import Path

import pytest

from colonnade.domain.fleet import Cluster
from colonnade.domain.l7 import L7Policy
from colonnade.domain.vocabulary import L7Action, L7RuleType
from colonnade.drivers.amphora.haproxy import l7
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import Templates, render
from colonnade.drivers.amphora.protocol import Severity
from tests.contract.test_haproxy_accepts import folder, local, running
from tests.haproxy_extras import MATCHES, policy, rule, ruled

__all__ = ["folder"]
TEMPLATES = Templates.load()
ANSWER_S_MAX = 1.5  # of a machine that does other things too
LONG = "a" * 12_000
HOSTILE = {
    "unanchored": ("[a-z]+x", L7RuleType.PATH, f"GET /{LONG} HTTP/1.0"),
    "exponential": ("^/(a+)+$", L7RuleType.PATH, f"GET /{'a' * 1000}!{LONG} HTTP/1.0"),
    "alternatives": ("^/(a|aa)+$", L7RuleType.PATH, f"GET /{'a' * 1000}!{LONG} HTTP/1.0"),
    "two repeats": ("^/[a-z]+[0-9a-z]*x", L7RuleType.PATH, f"GET /{LONG} HTTP/1.0"),
    "optional": ("^/(?:a?){50}a{50}$", L7RuleType.PATH, f"GET /{'a' * 49} HTTP/1.0"),
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
        began_at = time.monotonic()
        assert b" 503 " in await answer(folder / "100.sock", request)
        assert time.monotonic() - began_at < ANSWER_S_MAX
        assert process(await say("show info")) == process(before)


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
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


def process(about: str) -> str:
    return next(line for line in about.splitlines() if line.startswith("Pid:"))

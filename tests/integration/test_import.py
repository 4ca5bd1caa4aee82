# SPDX-License-Identifier: Apache-2.0
"""`colonnade import octavia` from one real API to another, which speak the same wire: what the
contract shows of a load balancer is all that an import has. A real Octavia is asked in
`tests/openstack/`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from colonnade.cli.nouns.index import NOUNS
from colonnade.cli.objects.names import Names
from colonnade.cli.objects.printing import Printer
from colonnade.cli.objects.session import Session
from colonnade.cli.octavia.source import Source
from colonnade.cli.octavia.steps import Move
from colonnade.cli.octavia.translating import Mapped
from colonnade.cli.rest import Query, Rest
from colonnade.domain.errors import ColonnadeError, Unreachable
from tests.contract.served import Colonnade, Said, served
from tests.database import Databases

WEB = """
kind: LoadBalancer
name: {name}
vip_subnet: private-subnet
vip_address: 10.0.0.{number}
tags: [shop]
listeners:
- name: front
  protocol: HTTP
  protocol_port: 80
  default_pool: app
  allowed_cidrs: [10.0.0.0/8]
  insert_headers: {{X-Forwarded-For: 'true'}}
  l7policies:
  - name: files
    action: REDIRECT_TO_POOL
    redirect_pool: files
    rules:
    - {{type: PATH, compare_type: STARTS_WITH, value: /static}}
    - {{type: HEADER, compare_type: EQUAL_TO, key: X-A, value: 1, invert: true}}
  - {{name: away, action: REDIRECT_TO_URL, redirect_url: 'https://example.test/', position: 2}}
pools:
- name: app
  protocol: HTTP
  lb_algorithm: ROUND_ROBIN
  session_persistence: {{type: HTTP_COOKIE}}
  members:
  - {{address: 10.0.0.11, protocol_port: 8080, name: web1, weight: 10}}
  - {{address: 10.0.0.12, protocol_port: 8080, subnet: private-subnet, backup: true}}
  healthmonitor: {{type: HTTP, delay: 5, timeout: 3, max_retries: 2, expected_codes: 200}}
- name: files
  protocol: HTTP
  lb_algorithm: LEAST_CONNECTIONS
"""
CAN, TAKEN, HERE = "can be taken over", "taken over", "is here"


class Pair:
    """Two endpoints: the one that load balancers come from, and the one that takes them over."""

    def __init__(self, there: str, here: str) -> None:
        self.there, self.here = Colonnade(there), Colonnade(here)

    def __call__(self, *words: str) -> Said:
        source = ("--from", self.there.url, "--from-token", "operator")
        return self.here("import", "octavia", *words, *source)

    def json(self, *words: str, code: int = 0) -> Any:
        said = self(*words, "--json")
        assert said.code == code, said
        return said.json

    def verdicts(self, *words: str, code: int = 0) -> dict[str, str]:
        return {one["name"]: one["verdict"] for one in self.json(*words, code=code)}


@pytest.fixture(scope="module")
def endpoints(databases: Databases) -> Iterator[Pair]:
    with (
        databases.fresh() as one, databases.fresh() as other,
        served(one) as there, served(other) as here,
    ):  # fmt: skip
        yield Pair(there, here)


@pytest.fixture
def pair(endpoints: Pair) -> Iterator[Pair]:
    yield endpoints
    for colonnade in (endpoints.there, endpoints.here):
        for one in colonnade.json("lb", "list"):
            colonnade("lb", "delete", one["id"], "--cascade", "--wait").ok()


def made(pair: Pair, tmp_path: Path, *names: str) -> dict[str, str]:
    """Their ids by their names."""
    file = tmp_path / "there.yaml"
    texts = [WEB.format(name=name, number=number) for number, name in enumerate(names, 50)]
    file.write_text("---".join(texts))
    applied = pair.there.json("apply", "-f", str(file), "--wait")
    return {one["name"]: one["id"] for one in applied}


def timeless(found: Any) -> Any:
    """Without when something was made and changed, at any depth."""
    if isinstance(found, dict):
        kept = {n: v for n, v in found.items() if n not in ("created_at", "updated_at")}
        return {name: timeless(value) for name, value in kept.items()}
    return [timeless(one) for one in found] if isinstance(found, list) else found


def shown(colonnade: Colonnade, noun: str) -> Any:
    return sorted(timeless(colonnade.json(noun, "list")), key=lambda one: str(one["id"]))


def test_every_object_comes_over_with_its_id_and_a_second_run_changes_nothing(
    pair: Pair, tmp_path: Path
) -> None:
    ids = made(pair, tmp_path, "web", "shop")
    before = {noun: shown(pair.there, noun) for noun in ("lb", "listener", "pool", "hm")}
    trees = {name: timeless(pair.there.json("lb", "tree", name)) for name in ids}
    assert pair.verdicts("check") == {"web": CAN, "shop": CAN}
    assert pair.here.json("lb", "list") == []  # a check changes nothing,
    assert {noun: shown(pair.there, noun) for noun in before} == before  # nowhere
    taken = pair.json("take", "--all")
    assert {one["verdict"] for one in taken} == {TAKEN}
    assert {one["objects"] for one in taken} == {11}
    assert all(one["done"] == ["switched off there"] and one["gap_s"] >= 0 for one in taken)
    after = {noun: shown(pair.here, noun) for noun in before}
    assert after == before
    assert {name: timeless(pair.here.json("lb", "tree", name)) for name in ids} == trees
    for one in shown(pair.there, "lb"):
        assert (one["admin_state_up"], one["tags"]) == (False, ["shop", "colonnade:released"])

    assert pair.verdicts("take", "--all") == {"web": HERE, "shop": HERE}
    assert pair.verdicts("check") == {"web": HERE, "shop": HERE}
    assert {noun: shown(pair.here, noun) for noun in before} == before
    history = pair.here.json("lb", "history", ids["web"])
    assert [one["generation"] for one in history] == [1]


def test_what_is_given_back_is_as_it_was_and_can_be_taken_again(pair: Pair, tmp_path: Path) -> None:
    ids = made(pair, tmp_path, "web")
    before = shown(pair.there, "lb")
    for _ in range(2):
        pair.verdicts("take", "web")
        assert pair.verdicts("undo", "web") == {"web": "given back"}
        assert shown(pair.there, "lb") == before
        assert pair.here.json("lb", "list") == []
    pair.verdicts("take", "web")
    pair.here("pool", "set", "app", "--algorithm", "SOURCE_IP").ok()
    (found,) = pair.json("check", "web", code=1)
    assert found["verdict"] == "is here, and differs"
    (one,) = found["findings"]
    assert (one["attribute"], one["cause"]) == (
        "lb_algorithm", "'ROUND_ROBIN' there, 'SOURCE_IP' here"
    )  # fmt: skip
    (refused,) = pair.json("undo", "web", code=1)
    assert "would be lost" in refused["findings"][0]["cause"]
    assert [one["id"] for one in pair.here.json("lb", "list")] == [ids["web"]]
    assert pair.verdicts("undo", "web", "--lose-changes") == {"web": "given back"}


def test_one_that_was_off_comes_over_switched_off(pair: Pair, tmp_path: Path) -> None:
    made(pair, tmp_path, "web")
    pair.there("lb", "set", "web", "--disable", "--wait").ok()
    (taken,) = pair.json("take", "web")
    assert (taken["verdict"], taken["done"]) == (TAKEN, [])
    assert [one["admin_state_up"] for one in pair.here.json("lb", "list")] == [False]
    assert pair.verdicts("undo", "web") == {"web": "given back"}
    assert [one["admin_state_up"] for one in pair.there.json("lb", "list")] == [False]


def test_who_was_interrupted_goes_on(pair: Pair, tmp_path: Path) -> None:
    """Switched off there, and not here yet: as a killed command leaves it."""
    made(pair, tmp_path, "web")
    off = ("--disable", "--tag", "shop", "--tag", "colonnade:released")
    pair.there("lb", "set", "web", *off, "--wait").ok()
    assert pair.verdicts("take", "web") == {"web": TAKEN}
    (here,) = pair.here.json("lb", "list")
    assert (here["admin_state_up"], here["tags"]) == (True, ["shop"])


def test_what_cannot_come_over_is_told_with_its_cure_and_left_alone(
    pair: Pair, tmp_path: Path
) -> None:
    made(pair, tmp_path, "web", "names")
    words = ("--protocol", "UDP", "--port", "53", "--name", "dns", "--default-pool", "answers")
    pair.there("pool", "create", "answers", "--lb", "names", "--protocol", "UDP", "--algorithm",
               "SOURCE_IP_PORT").ok()  # fmt: skip
    pair.there("listener", "create", "dns", "--lb", "names", *words[:4], *words[6:]).ok()
    pair.there("flavorprofile", "create", "p", "--provider", "noop", "--data", "{}").ok()
    pair.there("flavor", "create", "gold", "--profile", "p").ok()
    pair.there("lb", "create", "fast", "--subnet", "private-subnet", "--flavor", "gold").ok()

    found = {one["name"]: one for one in pair.json("check", code=1)}
    assert found["web"]["verdict"] == CAN
    assert len(found["fast"]["findings"]) == 1, found["fast"]
    (flavor,) = found["fast"]["findings"]
    assert (flavor["weight"], flavor["attribute"]) == ("blocks", "flavor_id")
    assert "--flavor THEIRS=OURS" in flavor["cure"]
    assert pair.verdicts("check", "fast", "--flavor", "gold=") == {"fast": CAN}

    found = {one["name"]: one for one in pair.json("check", "--provider", "noop=amphora", code=1)}
    told = {
        one["attribute"]: one for one in found["names"]["findings"] if one["weight"] == "blocks"
    }
    assert set(told) == {"protocol", "lb_algorithm"}
    assert "pool answers" in told["lb_algorithm"]["place"]
    # The endpoint itself knows of ports, and is asked where nothing else is wrong.
    (cure,) = {one["cure"] for one in found["web"]["findings"] if one["weight"] == "blocks"}
    assert cure == "as the endpoint here says it"

    before = shown(pair.there, "lb")
    tried = pair.verdicts("take", "--all", "--provider", "noop=amphora", code=1)
    assert set(tried.values()) == {"blocked"}
    assert shown(pair.there, "lb") == before
    assert pair.here.json("lb", "list") == []
    table = pair("check", "names", "--provider", "noop=amphora")
    assert table.code == 1
    assert "HAProxy does not forward UDP" in table.out


def test_of_the_words_that_are_wrong_each_is_told(pair: Pair, tmp_path: Path) -> None:
    made(pair, tmp_path, "web")
    for words, says in (
        (("take",), "say which load balancers, or --all"),
        (("take", "web", "--all"), "say which load balancers, or --all"),
        (("check", "nix"), "there is no load balancer named 'nix'"),
        (("check", "--flavor", "gold"), "'gold' is not THEIRS=OURS"),
        (("finish",), "say which load balancers"),
    ):
        said = pair(*words)
        assert (said.code, "Traceback" in said.err) == (1, False), words
        assert says in said.err, words
    (refused,) = pair.json("finish", pair.there.json("lb", "show", "web")["id"], code=1)
    assert "it is not here" in refused["findings"][0]["cause"]
    pair.verdicts("take", "web")
    (refused,) = pair.json("finish", "web", code=1)  # its port would go with it
    assert "openstack port set" in refused["findings"][0]["cause"]
    assert len(pair.there.json("lb", "list")) == 1


class Faults:
    """Of the calls to both endpoints, counted from 1: which fails, and whether it was carried out
    and only its answer is lost."""

    def __init__(self) -> None:
        self.calls, self.at, self.is_lost = 0, 0, False

    def arm(self, at: int, *, is_lost: bool) -> None:
        self.calls, self.at, self.is_lost = 0, at, is_lost


class Failing(Rest):
    def __init__(self, endpoint: str, faults: Faults) -> None:
        super().__init__(endpoint)
        self._faults = faults

    async def _call(
        self, method: str, path: str, body: Any = None, query: Query | None = None
    ) -> Any:
        self._faults.calls += 1
        fails = self._faults.calls == self._faults.at
        if fails and not self._faults.is_lost:
            raise Unreachable("not reached")
        answer = await super()._call(method, path, body, query)
        if fails:
            raise Unreachable("the answer was lost")
        return answer


@asynccontextmanager
async def moving(pair: Pair, faults: Faults) -> AsyncIterator[Move]:
    async with Failing(pair.there.url, faults) as there, Failing(pair.here.url, faults) as here:
        sessions = [Session(one, Names(one, NOUNS), Printer()) for one in (there, here)]
        yield Move(Source(sessions[0], None), sessions[1], Mapped(providers={"noop": "noop"}))


@pytest.mark.parametrize("is_lost", [False, True])
def test_whichever_call_fails_one_of_the_two_serves_and_the_next_run_heals(
    pair: Pair, tmp_path: Path, is_lost: bool
) -> None:
    root_id = made(pair, tmp_path, "web")["web"]
    assert asyncio.run(_fail_each(pair, root_id, is_lost=is_lost)) > 2


async def _fail_each(pair: Pair, root_id: str, *, is_lost: bool) -> int:
    """How often a call failed."""
    faults, fell = Faults(), 0
    async with moving(pair, faults) as move:
        before = await move.source.find(root_id)
        assert before is not None
        for at in range(1, 100):
            look = await move.look(root_id)
            faults.arm(at, is_lost=is_lost)
            try:
                await move.take(look)
            except ColonnadeError:
                fell += 1
            is_over = faults.calls < at
            faults.arm(0, is_lost=False)
            there = await move.source.find(root_id)
            assert there is not None
            is_here = (await move.look(root_id)).verdict == HERE
            assert there["admin_state_up"] != is_here, at
            await move.take(await move.look(root_id))
            assert (await move.look(root_id)).verdict == HERE, at
            await move.undo(await move.look(root_id), lose_changes=False)
            assert await move.source.find(root_id) == before | {
                "updated_at": (await move.source.find(root_id) or {})["updated_at"]
            }
            if is_over:
                break
    return fell

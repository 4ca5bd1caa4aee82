# SPDX-License-Identifier: Apache-2.0
"""The same requests to Octavia and to us, in turns, on the same machine at the same time.

Each API has one process and a durable database; who may ask is not asked, and nothing is served.
Both databases hold the same: so many load balancers, pools with so many members. A ratio is that
of two rounds that follow each other, the middle one of some such pairs, since the machine may be
busy with other things; its load average stands beside. `python -m bench peer` needs the package
registry (and Debian's, unless MariaDB is there) and some fifteen minutes.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from typing import Any

import msgspec

from bench import api, octavia
from bench.client import member
from bench.results import Figures
from bench.served import Figures as Round
from bench.served import Served, load_average, spent

ROUNDS = 5
WARM_UP = 4  # requests before the first round
POOLS_FEW, MEMBERS_FEW = 48, 10  # each with its own load balancer
POOLS_MANY, MEMBERS_MANY = 8, 100


class Case(msgspec.Struct, frozen=True):
    """`theirs`, `ours`: requests of a round, so many that it takes some seconds."""

    name: str
    words: str
    roots: int  # load balancers in the store before it
    clients: int
    theirs: int
    ours: int


CASES = (
    Case("get_one", "GET one", 100, clients=4, theirs=120, ours=2000),
    Case("list_100", "list of 100", 100, clients=4, theirs=48, ours=400),
    Case("list_1000", "list of 1000, one client", 1000, clients=1, theirs=4, ours=40),
    Case("post_load_balancer", "POST load balancer", 1000, clients=4, theirs=80, ours=400),
    Case("post_member", "POST member", 1000, clients=4, theirs=96, ours=480),
    Case("put_batch_unchanged", "PUT the same 100 members", 1000, clients=4, theirs=12, ours=160),
    Case("put_batch_new", "PUT 100 other members", 1000, clients=4, theirs=POOLS_MANY, ours=96),
)

GOALS = {
    "get_one.times_per_s": "> 60",
    "list_100.times_per_s": "> 60",
    "list_1000.ours.p50_ms": "< 15",
    "post_member.times_per_s": "> 40",
    "put_batch_unchanged.times_per_s": "> 60",
    "put_batch_new.times_per_s": "> 60",
}


class Side:
    """One of the two, with what it is asked for."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._one = ""
        self._few: list[str] = []
        self._many: list[str] = []
        self._addresses = itertools.count(1000)

    async def prepare(self, case: Case) -> None:
        load = self.served.load
        self._one = self._one or await load.root()
        await self.served.fill(case.roots)
        if case.name == "post_member":
            self._few = [(await load.pool(MEMBERS_FEW))[1] for _ in range(POOLS_FEW)]
        if case.name == "put_batch_unchanged":
            self._many = [(await load.pool(MEMBERS_MANY))[1] for _ in range(POOLS_MANY)]

    def request(self, name: str) -> Callable[[int], Awaitable[Any]]:
        load = self.served.load
        match name:
            case "get_one":
                return lambda _: load.ask("GET", f"loadbalancers/{self._one}")
            case "list_100" | "list_1000":
                return lambda _: load.ask("GET", "loadbalancers")
            case "post_load_balancer":
                return lambda _: load.root()
            case "post_member":
                return self._member
            case "put_batch_unchanged":
                return lambda number: self._batch(number, range(MEMBERS_MANY))
        return lambda number: self._batch(number, itertools.islice(self._addresses, MEMBERS_MANY))

    async def _member(self, number: int) -> None:
        pool = self._few[number % POOLS_FEW]
        body = {"member": member(next(self._addresses))}
        await self.served.load.ask("POST", f"pools/{pool}/members", body)

    async def _batch(self, number: int, addresses: Iterator[int] | range) -> None:
        pool = self._many[number % POOLS_MANY]
        body = {"members": [member(one) for one in addresses]}
        await self.served.load.ask("PUT", f"pools/{pool}/members", body)


async def measure() -> Figures:
    found: Figures = {}
    async with octavia.serving() as reference, api.serving(1) as served:
        theirs, ours = Side(reference), Side(served)
        for case in CASES:
            for side in (theirs, ours):
                await side.prepare(case)
            found |= {
                f"{case.name}.{name}": value
                for name, value in (await _compared(case, theirs, ours, reference.tidy)).items()
            }
    return found


async def _compared(
    case: Case, theirs: Side, ours: Side, tidy: Callable[[], Awaitable[None]]
) -> Figures:
    numbers = {side: itertools.count() for side in (theirs, ours)}

    async def round_of(side: Side, requests: int) -> Round:
        clients = min(case.clients, requests)
        return await side.served.round(requests, clients, side.request(case.name), numbers[side])

    pairs: list[tuple[Round, Round]] = []
    loads: list[float] = []
    for side in (theirs, ours):
        await round_of(side, WARM_UP)
    for _ in range(ROUNDS):
        await tidy()
        one = await round_of(theirs, case.theirs)
        pairs.append((one, await round_of(ours, case.ours)))
        loads.append(load_average())
    return beside(pairs) | {"load_average": median(loads)}


def beside(pairs: list[tuple[Round, Round]]) -> Figures:
    """Of pairs of rounds, theirs and ours: the middle of each figure, and how many times better
    ours is; the middle of what the pairs say."""
    found: Figures = {}
    for name, rounds in zip(("theirs", "ours"), zip(*pairs, strict=True), strict=True):
        found |= {f"{name}.{key}": median(one[key] for one in rounds) for key in rounds[0]}
    times = {
        "per_s": [ours["per_s"] / theirs["per_s"] for theirs, ours in pairs],
        "p50": [theirs["p50_ms"] / ours["p50_ms"] for theirs, ours in pairs],
        "cpu": [spent(theirs) / spent(ours) for theirs, ours in pairs],
    }
    return found | {f"times_{name}": round(median(each), 1) for name, each in times.items()}

# SPDX-License-Identifier: Apache-2.0
"""What a request costs with few, many and very many load balancers in the store, as ratios.

Three systems with an API and a database each, alike but for how much is in them, are asked in
turns, so that a busy machine disturbs them alike. Each is filled with copies of one load balancer
with a listener, a pool and a member. What is made for a figure is deleted again, so that a store
keeps its size. One client asks; a figure is processor time, of the API and its database. Run it
with nothing else running: `python -m bench scale`.
"""

import asyncio
import itertools
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

import msgspec
import psycopg

from bench import api
from bench.client import member
from bench.copies import copy
from bench.results import Figures
from bench.served import Figures as Round
from bench.served import load_average, spent
from colonnade.domain.errors import Broken

SIZES = (100, 10_000, 100_000)
ROUNDS = 5
PAGE = 50
NAME = "copied"
TREE: dict[str, Any] = {
    "name": NAME,
    "listeners": [
        {
            "protocol": "HTTP",
            "protocol_port": 80,
            "default_pool": {
                "name": "web",
                "protocol": "HTTP",
                "lb_algorithm": "ROUND_ROBIN",
                "members": [member(1)],
            },
        }
    ],
}


class Case(msgspec.Struct, frozen=True):
    words: str
    requests: int  # of a round


CASES = {
    "post_load_balancer": Case("POST load balancer", 50),
    "post_member": Case("POST member", 50),
    "get_one": Case("GET one", 100),
    "page_first": Case("first page of 50", 10),
    "page_middle": Case("page in the middle", 10),
    "page_last": Case("last page", 10),
    # Who looks for what is not there has to rule out all.
    "page_by_name": Case("filtered: one has the name", 10),
    "page_by_address": Case("filtered: none has the address", 10),
    "page_by_status": Case("filtered: none has the status", 10),
}
GOALS = {f"{name}.growth_{size}": "< 1.2" for name in CASES for size in SIZES[1:]}


class Store:
    """A system with so many load balancers."""

    def __init__(self, bench: api.Bench, size: int) -> None:
        self.size = size
        self._bench, self._load = bench, bench.load
        self._pool = ""
        self._made: list[str] = []
        self._addresses = itertools.count(1000)
        self._paths: dict[str, str] = {}

    async def fill(self) -> None:
        one = await self._load.root(**TREE)
        ids = await asyncio.to_thread(self._copied, one, self.size - 2)  # and one with a pool
        _, self._pool = await self._load.pool(10)
        pages = f"loadbalancers?limit={PAGE}"
        self._paths = {
            "get_one": f"loadbalancers/{ids[self.size // 2]}",
            "page_first": pages,
            "page_middle": f"{pages}&marker={ids[(self.size - PAGE) // 2]}",
            "page_last": f"{pages}&marker={ids[-PAGE]}",
            "page_by_name": f"{pages}&name={NAME}-7",
            "page_by_address": f"{pages}&vip_address=192.0.2.1",
            "page_by_status": f"{pages}&operating_status=ERROR",
        }

    def _copied(self, one: str, copies: int) -> list[str]:
        """The ids of all, the oldest first."""
        with psycopg.connect(self._bench.database_url, autocommit=True) as database:
            copy(database, one, copies, NAME)
            database.execute("VACUUM ANALYZE")
            rows = database.execute("SELECT id FROM load_balancers ORDER BY created_at")
            return [str(id) for (id,) in rows]

    async def round(self, name: str) -> Round:
        async def request(_: int) -> None:
            if name == "post_load_balancer":
                self._made.append(await self._load.root())
            elif name == "post_member":
                body = {"member": member(next(self._addresses))}
                await self._load.ask("POST", f"pools/{self._pool}/members", body)
            else:
                await self._load.ask("GET", self._paths[name])

        found = await self._bench.round(CASES[name].requests, 1, request, itertools.count())
        for one in self._made:
            await self._load.ask("DELETE", f"loadbalancers/{one}")
        self._made.clear()
        return found


async def measure() -> Figures:
    found: Figures = {}
    async with AsyncExitStack() as stack:
        stores = [Store(await stack.enter_async_context(api.serving(1)), size) for size in SIZES]
        for store in stores:
            await store.fill()
        for name in CASES:
            grown = await _grown(stores, name) | {"load_average": load_average()}
            found |= {f"{name}.{word}": value for word, value in grown.items()}
    return found


async def _grown(stores: Sequence[Store], name: str) -> Figures:
    """Nothing where one of them did not answer as it should."""
    try:
        return growth([[await store.round(name) for store in stores] for _ in range(ROUNDS)])
    except Broken as error:
        print(error, file=sys.stderr)
        return dict.fromkeys(f"growth_{size}" for size in SIZES[1:])


def growth(turns: Sequence[Sequence[Round]]) -> Figures:
    """Of turns, each with a round of every size: the middle of each size, and how many times as
    much it is as that of the smallest; the middle of what the turns say."""
    found: Figures = {}
    for size, rounds in zip(SIZES, zip(*turns, strict=True), strict=True):
        found[f"cpu_us_{size}"] = round(median(map(spent, rounds)))
        found[f"p50_ms_{size}"] = median(one["p50_ms"] for one in rounds)
    for at, size in enumerate(SIZES[1:], start=1):
        ratios = (spent(turn[at]) / spent(turn[0]) for turn in turns)
        found[f"growth_{size}"] = round(median(ratios), 2)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Ports, amphorae and hosts come and go at random, machines lose their power and the network daemon
is killed with calls under way: in the end nothing is left that was not there before.

Longer: `CYCLES=2000 SEED=2 .venv/bin/python -m pytest -s tests/integration/test_network_leaks.py`
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable
from typing import Any, Final

import pytest

from colonnade.domain.errors import ColonnadeError
from colonnade.domain.ids import AmphoraId, PortId, SubnetId, derived_id
from colonnade.drivers.compute.namespaces.client import ComputeClient
from colonnade.drivers.compute.protocol import Boot
from colonnade.drivers.network.namespaces import groups
from colonnade.drivers.network.namespaces.address_book import (
    LB_NETWORK,
    PRIVATE,
    PUBLIC,
    network_id,
    subnet_id,
)
from colonnade.drivers.network.namespaces.client import LabClient, NetworkClient, RouterClient
from colonnade.drivers.network.namespaces.wire import HostWish
from colonnade.drivers.network.protocol import NextHop, PortWish, Route
from tests.lab_site import Site, site, until, why_impossible

CYCLES: Final = int(os.environ.get("CYCLES", "200"))
POWER_CUTS: Final = 0.1
SEED: Final = int(os.environ.get("SEED", "1"))
AT_ONCE: Final = (1, 1, 1, 1, 6)  # calls of a cycle, one of these; as a daemon is killed, the most
KILLS: Final = 0.025  # of the cycles: a daemon takes a second to be back
LB_SUBNET = subnet_id(LB_NETWORK.name, LB_NETWORK.cidrs[0])
SUBNETS = (
    subnet_id(PUBLIC.name, PUBLIC.cidrs[0]),
    subnet_id(PUBLIC.name, PUBLIC.cidrs[1]),
    subnet_id(PRIVATE.name, PRIVATE.cidrs[0]),
)
AMPHORAE = [AmphoraId(derived_id("leaks", "amphora", str(n))) for n in range(5)]
PORTS = [PortId(derived_id("leaks", "port", str(n))) for n in range(8)]
VIPS = [f"192.0.2.{n}/32" for n in range(10, 14)]
HOSTS = [f"leaks-{n}" for n in range(3)]
LOOK = """
cd /proc
for p in [0-9]*; do
    readlink "$p/ns/net" >&2 && echo process
done 2>/tmp/$$
sort -u /tmp/$$ | sed -n s/^net:.*/namespace/p
rm /tmp/$$
cut -d: -f1 -s /proc/net/dev
"""


ROUTER = "cut -d: -f1 -s /proc/net/dev; cat /proc/net/route; ip nexthop show 2>/dev/null || :"


class Acts:
    """Calls at random. Each may be made at any time, with whatever came before."""

    def __init__(self, lab: Site, dice: random.Random) -> None:
        self._lab = lab
        self._dice = dice
        self.networks = NetworkClient(*lab.credentials("controller"))
        self.compute = ComputeClient(*lab.credentials("controller"))
        self.router = RouterClient(*lab.credentials("controller"))
        self.bench = LabClient(*lab.credentials("supervisor"))
        self.tally: Counter[str] = Counter()

    async def close(self) -> None:
        for one in (self.networks, self.compute, self.router, self.bench):
            await one.close()

    def any(self) -> Awaitable[Any]:
        dice = self._dice
        amphora, port, host = dice.choice(AMPHORAE), dice.choice(PORTS), dice.choice(HOSTS)
        subnet = SubnetId(dice.choice(SUBNETS))
        wish = PortWish(id=port, owner="lb:leaks", subnet_id=subnet)
        name, act = dice.choice(
            (
                ("boot", lambda: self._boot(amphora)),
                ("boot", lambda: self._boot(amphora)),
                ("create", lambda: self.networks.create_port(wish)),
                ("create", lambda: self.networks.create_port(wish)),
                ("plug", lambda: self.networks.plug(port, amphora)),
                ("plug", lambda: self.networks.plug(port, amphora)),
                ("plug", lambda: self.networks.plug(port, amphora)),
                ("unplug", lambda: self.networks.unplug(port)),
                ("delete", lambda: self.networks.delete_port(port)),
                ("destroy", lambda: self.compute.destroy(amphora)),
                ("host", lambda: self.bench.add_host(HostWish(name=host, network="public"))),
                ("route", lambda: self.router.set_route(self._route())),
                ("no route", lambda: self.router.delete_route(dice.choice(VIPS))),
                ("no host", lambda: self.bench.remove_host(host)),
            )
        )
        self.tally[name] += 1
        return act()

    def cut_power(self) -> None:
        """Of a machine, if it runs: the daemon is not told."""
        try:
            self._lab.cut_power(self._dice.choice(AMPHORAE))
            self.tally["power cut"] += 1
        except (FileNotFoundError, AssertionError):
            pass  # it is not there, or ends by itself just now

    async def clear(self) -> None:
        for amphora in AMPHORAE:
            await self.compute.destroy(amphora)
        for vip in VIPS:
            await self.router.delete_route(vip)
        for port in (*PORTS, *map(_lb_port, AMPHORAE)):
            await self.networks.delete_port(port)
        for host in HOSTS:
            await self.bench.remove_host(host)

    def _route(self) -> Route:
        """To addresses of which some are ports' just now."""
        hops = self._dice.sample(range(2, 7), self._dice.choice((1, 2)))
        return Route(
            destination=self._dice.choice(VIPS),
            network_id=network_id(PUBLIC.name),
            next_hops=tuple(NextHop(f"203.0.113.{hop}") for hop in hops),
            owner="lb:leaks",
        )

    async def _boot(self, amphora: AmphoraId) -> None:
        port = _lb_port(amphora)
        wish = PortWish(id=port, owner=f"amphora:{amphora}", subnet_id=LB_SUBNET)
        await self.networks.create_port(wish)
        await self.compute.create(Boot(amphora_id=amphora, lb_port_id=port, config_drive={}))


def _lb_port(amphora: AmphoraId) -> PortId:
    return PortId(derived_id(amphora, "lb"))


def found(lab: Site) -> dict[str, int]:
    """How much there is of everything."""
    seen = lab.run("sh", "-c", LOOK).split()
    router = lab.run("sh", "-c", ROUTER, inside="router").splitlines()
    folders = (lab.config.state_dir / "network", lab.lab.folder)
    group = groups.name_of(lab.config.run_dir)
    places = [groups.ROOT / group, *(groups.ROOT / kind / group for kind in groups.CONTROLLERS)]
    return {
        "processes": seen.count("process"),
        "namespaces": seen.count("namespace"),
        "links": len(seen) - seen.count("process") - seen.count("namespace"),
        "links, routes and next hops of the router": len(router),
        "files": sum(
            len([p for p in (one / part).glob("*")])
            for one, part in (
                (folders[0], "networks"),
                (folders[0], "routes"),
                (folders[1], "machines"),
            )
        ),
        "book rows": len(list((folders[0] / "ports").glob("*"))),
        "control groups": sum(1 for one in places for p in one.glob("*-*") if p.is_dir()),
    }


def test_nothing_is_left_of_many_that_came_and_went() -> None:
    if reason := why_impossible():
        pytest.skip(reason)
    with site() as lab:
        before = found(lab)
        tally = asyncio.run(come_and_go(lab, random.Random(SEED)))
        now = before

        def is_as_before() -> bool:
            nonlocal now
            now = found(lab)
            return now == before

        try:
            until(is_as_before, 30, "all to be as before")
        finally:
            sys.stdout.write(
                f"seed {SEED}, {CYCLES} cycles: {tally}\nbefore {before}\nafter  {now}\n"
            )


async def come_and_go(lab: Site, dice: random.Random) -> dict[str, int]:
    """What was done, how often."""
    acts = Acts(lab, dice)
    for _ in range(CYCLES):
        is_killed = dice.random() < KILLS
        count = max(AT_ONCE) if is_killed else dice.choice(AT_ONCE)
        calls = [asyncio.ensure_future(acts.any()) for _ in range(count)]
        await asyncio.wait(calls, timeout=dice.uniform(0, 0.4) if is_killed else None)
        if is_killed:
            lab.end_daemon(signal.SIGKILL)
            acts.tally["daemon killed"] += 1
            await asyncio.wait(calls)
        if dice.random() < POWER_CUTS:
            acts.cut_power()
        if is_killed:
            lab.start_daemon()
        for call in calls:
            error = call.exception()
            assert error is None or isinstance(error, ColonnadeError), error
            acts.tally["refused"] += error is not None
    await acts.clear()
    await acts.close()
    return dict(acts.tally)

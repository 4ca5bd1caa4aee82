# SPDX-License-Identifier: Apache-2.0
"""One run: load balancers, trouble, and then everything must be as wished.

The last looks are made at rows and fakes, not at what the control plane says of itself.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import msgspec

from colonnade.domain import ids
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import AmphoraId, derived_id
from colonnade.domain.lifecycle import State
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Connection
from colonnade.store.trees import wishes
from tests.chaos import layouts
from tests.chaos.database import Line
from tests.chaos.faults import trouble
from tests.chaos.loop import WorldLoop
from tests.chaos.users import Users, Wish
from tests.chaos.world import CONFIG, PER_AMPHORA, STANDING, Manner, World

LOOK_S: Final = 3.0
CONVERGES_S: Final = 400.0  # a key that failed for long is tried again after up to 300 s
QUIET_S: Final = 9.0  # afterwards nothing may change


class Outcome(msgspec.Struct, frozen=True):
    seed: int
    wrong: str  # "" when all was well
    story: str
    converged_s: float  # after the end of the trouble


Script = Callable[[World, Users], Awaitable[None]]


def run(
    line: Line, seed: int, script: Script | None = None, manner: Manner | None = None
) -> Outcome:
    """`script`: what happens, and `manner`: how the world is set up, in the place of what
    the seed says."""
    loop = WorldLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_run(line, seed, script or _by_seed, manner))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _run(line: Line, seed: int, script: Script, manner: Manner | None) -> Outcome:
    random.seed(seed)
    ids.source.set(Random(seed).randbytes)
    world = World(line, seed, manner)
    users = Users(world)
    wrong, took = "", 0.0
    watching: asyncio.Task[None] | None = None
    try:
        await world.begin()
        if world.manner.layouts:
            watching = asyncio.create_task(users.watch())
        await script(world, users)
        world.say("the trouble is over")
        over = asyncio.get_running_loop().time()
        wrong = await _converged(world, users)
        took = asyncio.get_running_loop().time() - over
        wrong = wrong or "; ".join(world.history.violations)
    finally:
        if watching is not None:
            watching.cancel()
        await world.end()
    return Outcome(seed, wrong, world.history.story(), took)


async def _by_seed(world: World, users: Users) -> None:
    await asyncio.sleep(world.random.uniform(2, 6))
    for _ in range(world.random.randint(1, 2)):
        await users.create()
    await asyncio.sleep(world.random.uniform(0, 4))
    await trouble(world, users)


async def _converged(world: World, users: Users) -> str:
    """ "" when all is as wished, and stays so; else what is not."""
    until = asyncio.get_running_loop().time() + CONVERGES_S
    wrong = "nothing was looked at"
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(LOOK_S)
        wrong = await _look(world, users)
        if wrong or world.weather.on_their_way:  # which may make what is unknown, and that is found
            continue
        await asyncio.sleep(QUIET_S)
        wrong = await _look(world, users)
        break
    await _tell_failures(world)
    return wrong and f"not as wished: {wrong}"


async def _look(world: World, users: Users) -> str:
    async with world.store.turn() as connection:
        keys = await _all(connection, "SELECT key FROM work")
        left = sorted({key for (key,) in keys} - set(STANDING))
        if left:
            return f"work is left: {left}"
        rows = await amphora_rows.everyone(connection)
        for wish in users.wishes:
            if wrong := await _look_at(world, connection, wish, rows):
                return f"load balancer {wish.number}: {wrong}"
        wanted = [await wishes.wanted(connection, wish.cluster_id) for wish in users.wishes]
    return _leaked(world, rows, [cluster for cluster in wanted if cluster is not None])


async def _look_at(world: World, connection: Connection, wish: Wish, rows: list[Amphora]) -> str:
    wanted = await wishes.wanted(connection, wish.cluster_id)
    if wanted is None:
        left = [port_id for port_id in wish.ports if world.network.has_port(port_id)]
        if wish.is_there:
            return "it was acknowledged and is not there"
        return f"it is gone, and {len(left)} of its ports are not" if left else ""
    if wish.is_there is False or wanted.deleted:
        return "it was deleted and is still there"
    if layouts.size_of(wanted) not in wish.sizes:
        return f"it is {layouts.size_of(wanted)}, and was to be one of {wish.sizes}"
    return _members(wish, wanted) or layouts.served(world, wanted, rows)


def _members(wish: Wish, wanted: Cluster) -> str:
    members = {m.id for tree in wanted.load_balancers for m in tree.members}
    if lost := wish.kept - members:
        return f"{len(lost)} members were acknowledged and are not there"
    extra = members - wish.kept - wish.unsure
    return f"{len(extra)} members were never asked for" if extra and wish.is_there else ""


def _leaked(world: World, rows: list[Amphora], clusters: list[Cluster]) -> str:
    states = [a.state for a in rows]
    if set(states) - {State.SPARE, State.CARRYING, State.SERVING}:
        return f"amphorae are {sorted(set(states))}"
    if wrong := _seats(world, rows):
        return wrong
    if states.count(State.SPARE) != CONFIG.spares:
        return f"{states.count(State.SPARE)} spares"
    known_ids = {a.id for a in rows}
    if set(world.compute._instances) != known_ids:
        return "instances and rows differ"
    if {machine.id for machine in world.compute.running()} != known_ids:
        return "an amphora that is dead has not been missed yet"
    expected = {derived_id(i, "lb") for i in known_ids}
    expected |= {
        derived_id(a.id, subnet)
        for cluster in clusters
        for a in rows
        if a.cluster_id == cluster.id
        for subnet in layouts.own_subnets(cluster)
    }
    expected |= {name for cluster in clusters for name in layouts.floating(cluster)}
    expected |= {vip.port_id for c in clusters for tree in c.load_balancers for vip in tree.vips}
    ports = {p.id for p in world.network.held() if p.owner.startswith(("amphora:", "lb:"))}
    if ports != expected:
        return f"{len(ports - expected)} ports are leaked, {len(expected - ports)} are missing"
    owners = {f"lb:{tree.id}" for cluster in clusters for tree in cluster.load_balancers}
    if any(route.owner not in owners for route in world.network.led()):
        return "a route leads to what is gone"
    known = {a.cluster_id for a in rows if a.cluster_id is not None}
    gone = known - {cluster.id for cluster in clusters}
    return "an amphora serves a cluster that is gone" if gone else ""


def _seats(world: World, rows: list[Amphora]) -> str:
    """Each seat has its carrier and is open there, each carrier has seats, and not too many."""
    carrying = {a.id for a in rows if a.state is State.CARRYING}
    found = Counter(a.carrier_id for a in rows if a.carrier_id is not None)
    if set(found) != carrying:
        return f"{len(carrying)} amphorae carry, and seats are on {len(found)}"
    if any(number > PER_AMPHORA for number in found.values()):
        return "more are on an amphora than it may carry"
    opened = {s for s, carrier in world.agents.seats.items() if carrier in world.network.amphorae}
    if opened != {a.id for a in rows if a.carrier_id is not None}:
        return "what is open is not what there is"
    return ""


async def _tell_failures(world: World) -> None:
    async with world.store.turn() as connection:
        found = await _all(
            connection,
            """SELECT object_id, extract(epoch FROM at) - 1000000000, message FROM events
            WHERE object_kind = 'amphora' AND kind = 'failed' ORDER BY at""",
        )
    for amphora_id, at, message in found:
        machine = world.compute.machines.get(amphora_id)
        # Others were never made, or not yet, whatever hindered it.
        if machine is not None and machine.born <= float(at):
            beside = [one.id for one in world.compute.beside(machine)]
            world.history.failed(AmphoraId(amphora_id), float(at), message, beside)


async def _all(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    return await (await connection.execute(sql.encode())).fetchall()

# SPDX-License-Identifier: Apache-2.0
"""A whole control plane in one process: the real store and reconcilers over drivers in memory.

Every call that a controller makes, to a driver or to the store, has a number; one of them may be
made to fail before it happens, to lose its answer after it happened, or to be where the controller
is killed. Time does not pass by itself: what is due later is due in the next round. Amphorae beat
and receivers listen as long as the test does not cut them off.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from msgspec.structs import replace

from colonnade import __version__
from colonnade.controller.amphorae import Amphorae, Births
from colonnade.controller.clusters import Clusters
from colonnade.controller.leaks import Leaks
from colonnade.controller.loop import Loop, Reconciler
from colonnade.controller.renewals import Certificates
from colonnade.controller.spares import Spares
from colonnade.controller.upgrades import Upgrades
from colonnade.domain.catalogue import Sizing
from colonnade.domain.fleet import Amphora, Role
from colonnade.domain.ids import (
    AmphoraId,
    ClusterId,
    ListenerId,
    LoadBalancerId,
    MemberId,
    PoolId,
    PortId,
    ProjectId,
    SubnetId,
    derived_id,
    new_id,
)
from colonnade.domain.lifecycle import State
from colonnade.domain.listeners import Listener
from colonnade.domain.pools import Member, Pool
from colonnade.domain.shape import LOAD_BALANCERS, MEMBERS
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import Algorithm, ListenerProtocol, PoolProtocol
from colonnade.domain.walking import with_child
from colonnade.drivers.amphora.protocol import AmphoraDriver
from colonnade.drivers.compute.protocol import ComputeDriver
from colonnade.drivers.network.protocol import NetworkDriver, Port, PortWish
from colonnade.drivers.secrets.database import Seal
from colonnade.runtime.certificate_authority import Authority
from colonnade.runtime.config import Config
from colonnade.store.fleet import amphora_rows, clusters, failovers, pairs
from colonnade.store.fleet.failovers import Rules
from colonnade.store.fleet.safe_mode import Windows
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work
from colonnade.store.trees import edits, wishes
from tests.fakes.amphora import FakeAmphorae
from tests.fakes.compute import FakeCompute
from tests.fakes.faults import Faults, Watched, WatchedDatabase
from tests.fakes.network import PRIVATE_SUBNET, PUBLIC_SUBNET, FakeNetwork
from tests.fakes.vrrp import Vrrp

ROUNDS_MAX: Final = 40
WINDOWS: Final = Windows(stale_s=3.5, spare_stale_s=75, boot_s=60)
STANDING: Final = ("leaks:all", "spares:default")
CA: Final = Authority.new()
AUTHORITY: Final = Authority(CA)
SEAL: Final = Seal(bytes(32))
SIZE: Final = Sizing()


class NoObjections:
    """A provider that has nothing against any tree."""

    def lacks(self, tree: LoadBalancer) -> list[tuple[str, str]]:
        return []

    def settles_at_once(self, provider: str) -> bool:
        return False

    def reads_secrets(self, provider: str) -> bool:
        return False


class OneOwner(FakeNetwork):
    """A network that watches over VIPs: one moves only when the last owner has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled: list[str] = []
        self.vrrp = Vrrp()

    def holding(self) -> list[AmphoraId]:
        """Halves that hold VIPs, and are not cut off from them."""
        roles = self.vrrp.roles(self.amphorae)
        return [one for one, role in roles.items() if role is Role.MASTER and self._is_on(one)]

    def _is_on(self, half: AmphoraId) -> bool:
        port = self._book.ports.get(PortId(derived_id(half, PUBLIC_SUBNET)))
        return port is not None and port.plugged_into == half

    async def plug(self, port_id: PortId, amphora_id: AmphoraId) -> Port:
        port = await self.port(port_id)
        last = port.plugged_into
        if port.owner.startswith("lb:") and last != amphora_id and last in self.amphorae:
            self.doubled.append(f"{port_id} was moved from {last} while that one ran")
        if port.owner.startswith("lb:"):
            self.doubled += [f"{port_id} was plugged, and {one} has it" for one in self.holding()]
        return await super().plug(port_id, amphora_id)


class World:
    """Make one with `World.begin`, on a fresh database."""

    def __init__(self, database: Database, config: Config) -> None:
        self.database = database
        self.config = config
        self.network = OneOwner()
        self.compute = FakeCompute(self.network)
        self.amphorae = FakeAmphorae(self.network)
        self.network.vrrp = self.amphorae.vrrp
        self.load_balancer_id = LoadBalancerId("")
        self.cluster_id = ClusterId("")
        self.faults = Faults()
        self.authority = AUTHORITY  # the one that signs; tests exchange it
        self.release = __version__  # of the controllers that boot amphorae
        self.certificates = Certificates(lambda: self.authority, SEAL, days=1)
        self.loop = self._controller()
        self._sequence = 0

    @classmethod
    async def begin(cls, database: Database, config: Config) -> "World":
        world = cls(database, config)
        async with database.transaction() as connection:
            for key in STANDING:
                await work.mark(connection, key)
        return world

    @classmethod
    async def that_serves(
        cls, database: Database, config: Config, size: Sizing = SIZE, *, vips: Sequence[str] = ()
    ) -> "World":
        """With one load balancer, and its spares ready. `vips`: ranges of a subnet that a router
        leads to amphorae, for its VIP; without, it is on the public one."""
        world = await cls.begin(database, config)
        await world.settle()
        subnet_id = PUBLIC_SUBNET if not vips else world.network.add("vips", *vips, via="public")
        await world.create(size=size, subnet_id=subnet_id)
        await world.settle()
        return world

    def _controller(self) -> Loop:
        """A controller as `process.py` makes one, with its calls numbered."""
        faults = self.faults
        database = cast(Database, WatchedDatabase(self.database, faults))
        network = cast(NetworkDriver, Watched(self.network, faults))
        compute = cast(ComputeDriver, Watched(self.compute, faults))
        amphorae = cast(AmphoraDriver, Watched(self.amphorae, faults))
        births = Births(self.config, self.certificates, SEAL, "haproxy", self.release)
        rules = Rules(heartbeats=self.config.heartbeats, failovers=self.config.failovers)
        reconcilers: dict[str, Reconciler] = {
            "cluster": Clusters(database, network, compute, amphorae, rules),
            "amphora": Amphorae(database, network, compute, births, amphorae),
            "spares": Spares(database, SEAL, self.config.spares),
            "upgrade": Upgrades(database, self.config.spares),
            "leaks": Leaks(database, network, compute, patience_s=0, rules=rules),
        }
        return Loop(database, reconcilers, lease_s=60)

    # What users, receivers and bad luck do.

    async def create(
        self,
        *,
        owned: bool = True,
        size: Sizing = SIZE,
        subnet_id: SubnetId = PUBLIC_SUBNET,
        **own: Any,
    ) -> None:
        """A load balancer with one member, as the API would store it. Not `owned`: the user
        brought the VIP's port. `own`: attributes of the load balancer."""
        load_balancer_id = LoadBalancerId(new_id())
        owner = f"lb:{load_balancer_id}" if owned else "user"
        port = await self.network.create_port(
            PortWish(id=PortId(new_id()), owner=owner, subnet_id=subnet_id)
        )
        (subnet,) = [s for s in await self.network.subnets() if s.id == subnet_id]
        via, is_announced = subnet.via_subnet_id, subnet.announced is not None
        tree = replace(new_tree(load_balancer_id, port, owned=owned), **own)
        tree = replace(tree, vip=replace(tree.vip, via_subnet_id=via, announced=is_announced))
        self.load_balancer_id, self.cluster_id = load_balancer_id, tree.cluster_id
        terms = wishes.Terms(size=size)
        await wishes.create(self.database, tree, NoObjections(), terms=terms)

    @asynccontextmanager
    async def editing(self) -> AsyncIterator[edits.Edit]:
        async with edits.editing(
            self.database,
            LOAD_BALANCERS,
            self.load_balancer_id,
            project=None,
            review=NoObjections(),
            again=True,  # as after a change that came first: statuses may have been written
        ) as edit:
            yield edit

    async def add_member(self, subnet_id: SubnetId = PRIVATE_SUBNET) -> None:
        async with self.editing() as edit:
            (pool,) = edit.tree.pools
            fresh = member(len(pool.members) + 1, subnet_id)
            edit.tree = edit.tree.with_pool(with_child(pool, MEMBERS, fresh))

    async def resize(self, size: Sizing) -> None:
        """As another flavor says."""
        async with self.editing() as edit:
            edit.tree = replace(edit.tree, description=new_id())
            edit.size = size

    async def drop_members(self) -> None:
        async with self.editing() as edit:
            (pool,) = edit.tree.pools
            edit.tree = edit.tree.with_pool(replace(pool, members=()))

    async def delete(self) -> None:
        async with self.editing() as edit:
            edit.delete()

    def cut_off(self) -> AmphoraId:
        """The serving amphora falls silent but goes on answering for its VIP."""
        (amphora_id,) = self.answering()
        self.amphorae.cut_off.add(amphora_id)
        return amphora_id

    def kill(self) -> AmphoraId:
        """A power cut for the serving amphora."""
        (amphora_id,) = self.answering()
        self.power_cut(amphora_id)
        return amphora_id

    def power_cut(self, amphora_id: AmphoraId) -> None:
        self.compute.kill(amphora_id)
        for one in (amphora_id, *self.compute.seats(amphora_id)):
            self.network.amphorae.discard(one)
            self.network.stopped.add(one)

    async def beat(self) -> None:
        """One heartbeat of each amphora that runs, and the receiver's judgement of the others."""
        self._sequence += 1
        heard = sorted(self.network.amphorae - self.amphorae.cut_off)
        async with self.database.transaction() as connection:
            beats = []
            for amphora_id in heard:
                wish = self.amphorae.serving.get(amphora_id)
                generation = 0 if wish is None else wish.generation
                beats.append(
                    amphora_rows.Heartbeat(
                        amphora_id=amphora_id, sequence=self._sequence, generation=generation
                    )
                )
            await amphora_rows.record_heartbeats(connection, beats)
            await amphora_rows.first_heartbeat(connection, heard)
            await connection.execute(
                "UPDATE heartbeats SET seen_at = now() - interval '1 h' WHERE sequence < %s",
                [self._sequence],
            )
            await connection.execute(
                """UPDATE amphorae SET state_since = now() - interval '10 s'
                WHERE id IN (SELECT amphora_id FROM heartbeats WHERE sequence < %s)""",
                [self._sequence],
            )
            for amphora_id, role in self.amphorae.roles().items():
                if amphora_id in heard:
                    await pairs.record_role(connection, amphora_id, role)
            await failovers.mark_silent(connection, WINDOWS, self.config.failovers)

    # What controllers do.

    async def settle(self) -> None:
        """Rounds of work until one changes nothing; a killed controller is followed by another."""
        before, struck = None, self.faults.struck
        for _ in range(ROUNDS_MAX):
            await self.beat()
            await self._round()
            state = await self._state()
            if state == before and struck == self.faults.struck:
                return
            before, struck = state, self.faults.struck
        raise AssertionError(f"not settled after {ROUNDS_MAX} rounds: {before}")

    async def pass_once(self, keys: str = "%") -> None:
        """Each of these keys that is dirty is worked on once."""
        async with self.database.read() as connection:
            await connection.execute(
                "UPDATE work SET due_at = now() + interval '1 h' WHERE key NOT LIKE %s", [keys]
            )
            await connection.execute("UPDATE work SET due_at = now() WHERE key LIKE %s", [keys])
        await self._work()

    async def _round(self) -> None:
        async with self.database.read() as connection:
            await connection.execute("UPDATE work SET due_at = now(), leased_until = now()")
        await self._work()

    async def _work(self) -> None:
        async with self.database.read() as connection:
            leases = await work.lease(connection, work.Free(100, 100), 60)
        tasks = [asyncio.create_task(self.loop._work(lease)) for lease in leases]
        dying = asyncio.create_task(self.faults.dead.wait())
        ending = asyncio.gather(*tasks, return_exceptions=True)
        ending.add_done_callback(lambda _: dying.cancel())
        await asyncio.wait([dying])
        if self.faults.dead.is_set():
            for task in tasks:
                task.cancel()
            last = self.faults
            await asyncio.gather(*tasks, return_exceptions=True)
            self.faults = Faults()
            self.faults.struck, self.faults.names = last.struck, last.names
            self.loop = self._controller()
        elif wrong := [r for r in await ending if isinstance(r, BaseException)]:
            raise wrong[0]

    async def _state(self) -> object:
        async with self.database.read() as connection:
            rows = await amphora_rows.everyone(connection)
            cursor = await connection.execute(
                "SELECT id, generation, applied_lowest, highest_settled FROM clusters"
            )
            facts = await cursor.fetchall()
            keys = await (await connection.execute("SELECT key FROM work ORDER BY key")).fetchall()
        left = [key for (key,) in keys if key not in STANDING]
        if left:
            return object()  # like no other: there is something to do
        return rows, facts, list(self.network._book.ports.values()), sorted(self.compute.boots)

    # What is asked afterwards.

    def answering(self) -> set[AmphoraId]:
        """Those that would answer a packet for the VIP."""
        owner = f"lb:{self.load_balancer_id}"
        plugged = {p.plugged_into for p in self.network._book.ports.values() if p.owner == owner}
        return {
            amphora_id
            for amphora_id in plugged
            if amphora_id in self.network.amphorae and amphora_id in self.amphorae.serving
        }

    async def failure(self) -> tuple[int, str, str] | None:
        """The generation that failed, and what its owner is told."""
        async with self.database.read() as connection:
            cursor = await connection.execute("SELECT failed_at, last_error FROM clusters")
            row = await cursor.fetchone()
        if row is None or row[0] is None:
            return None
        return row[0], row[1]["code"], row[1]["message"]

    async def rows(self) -> list[Amphora]:
        async with self.database.read() as connection:
            return await amphora_rows.everyone(connection)

    async def assert_served(self) -> None:
        """The newest wish is served by exactly the one that should, and known to be."""
        async with self.database.read() as connection:
            wanted = await wishes.wanted(connection, self.cluster_id)
            cursor = await connection.execute(
                "SELECT applied_lowest, highest_settled, failed_at FROM clusters"
            )
            facts = await cursor.fetchone()
        assert wanted is not None
        serving = {a.id for a in await self.rows() if a.state is State.SERVING}
        assert len(serving) == 1
        assert self.answering() == serving
        (amphora_id,) = serving
        assert self.amphorae.serving[amphora_id] == wanted
        assert facts == (wanted.generation, wanted.generation, None)
        assert len(self.amphorae.interfaces[amphora_id]) == 2  # the VIP's, the members'

    async def assert_nothing_leaked(self) -> None:
        """Every thing has a row, every row its thing, and there are as many spares as wished."""
        rows = await self.rows()
        assert self.network.doubled == []
        assert {a.state for a in rows} <= {State.SPARE, State.SERVING}
        assert len([a for a in rows if a.state is State.SPARE]) == self.config.spares
        assert {i.amphora_id for i in await self.compute.instances()} == {a.id for a in rows}
        expected = {derived_id(a.id, "lb") for a in rows}
        expected |= {derived_id(a.id, PRIVATE_SUBNET) for a in rows if a.state is State.SERVING}
        halves = [a.id for a in rows if a.vrrp_priority is not None]
        expected |= {derived_id(name, PUBLIC_SUBNET) for name in halves}
        ports = [p for p in await self.network.ports() if p.owner.startswith("amphora:")]
        assert {p.id for p in ports} == expected
        async with self.database.read() as connection:
            keys = await (await connection.execute("SELECT key FROM work")).fetchall()
        assert {row[0] for row in keys} == set(STANDING)

    async def assert_gone(self) -> None:
        """Nothing of the load balancer is left, in rows or on the network."""
        async with self.database.read() as connection:
            assert await wishes.wanted(connection, self.cluster_id) is None
            assert not await clusters.load_balancers_among(connection, [self.load_balancer_id])
        assert not [p for p in await self.network.ports() if p.owner.startswith("lb:")]
        assert self.answering() == set()


def member(number: int, subnet_id: SubnetId = PRIVATE_SUBNET) -> Member:
    return Member(
        id=MemberId(new_id()),
        address=f"10.0.0.{number + 10}",
        protocol_port=80,
        subnet_id=subnet_id,
    )


def new_tree(load_balancer_id: LoadBalancerId, port: Port, *, owned: bool = True) -> LoadBalancer:
    """A load balancer with one member and a cluster of its own."""
    pool = Pool(
        id=PoolId(new_id()),
        protocol=PoolProtocol.HTTP,
        lb_algorithm=Algorithm.ROUND_ROBIN,
        members=(member(1),),
    )
    listener = Listener(
        id=ListenerId(new_id()),
        protocol=ListenerProtocol.HTTP,
        protocol_port=80,
        default_pool_id=pool.id,
    )
    return LoadBalancer(
        id=load_balancer_id,
        project_id=ProjectId("p"),
        cluster_id=ClusterId(new_id()),
        provider="amphora",
        vip=vip_of(port, owned=owned),
        listeners=(listener,),
        pools=(pool,),
    )


def vip_of(port: Port, *, owned: bool = True) -> Vip:
    return Vip(
        address=port.address,
        port_id=port.id,
        subnet_id=port.subnet_id,
        network_id=port.network_id,
        owned=owned,
    )

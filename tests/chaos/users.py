# SPDX-License-Identifier: Apache-2.0
"""Users and operators of the world: they create, change, fail over and delete, and remember what
was acknowledged to them.

A call that was answered holds. One whose answer was lost may hold or not.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Final, cast

from msgspec.structs import replace

from colonnade.domain.catalogue import Sizing
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.ids import ClusterId, LoadBalancerId, MemberId, PortId, new_id
from colonnade.domain.lifecycle import Event, State
from colonnade.domain.shape import LOAD_BALANCERS, MEMBERS
from colonnade.domain.tree import LoadBalancer
from colonnade.domain.walking import with_child, without_child
from colonnade.drivers.network.protocol import PortWish, vip_owner
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work
from colonnade.store.trees import edits, wishes
from tests.chaos import layouts
from tests.chaos.database import WorldDatabase
from tests.chaos.loop import Process
from tests.chaos.world import World
from tests.fakes.network import PRIVATE_SUBNET, PUBLIC_SUBNET, PUBLIC_SUBNET_V6
from tests.world import NoObjections, member, new_tree, vip_of

MEMBERS_MAX: Final = 6
WATCH_S: Final = 0.25


class Wish:
    """One load balancer as its owner knows it. None: nobody can say."""

    def __init__(self, tree: LoadBalancer, number: int, size: Sizing) -> None:
        self.id: LoadBalancerId = tree.id
        self.cluster_id: ClusterId = tree.cluster_id
        self.number = number
        self.ports = [vip.port_id for vip in tree.vips]
        self.size = size  # that was acknowledged last
        self.sizes = {size}  # that it may have
        self.is_doubled = False
        self.is_there: bool | None = None
        self.kept: set[MemberId] = set()
        self.unsure: set[MemberId] = set()


class Users:
    """Two API processes and those who call them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wishes: list[Wish] = []
        self.process = Process("API")
        self._apis = [WorldDatabase(world.store, self.process) for _ in (1, 2)]

    @property
    def _random(self) -> Random:
        return self.world.random

    def _api(self) -> Database:
        return cast(Database, self._random.choice(self._apis))

    def there(self) -> list[Wish]:
        return [wish for wish in self.wishes if wish.is_there]

    async def create(self, vips: int = 0) -> None:
        """0: one or two VIPs."""
        vips = vips or self._random.choice((1, 1, 2))
        size = self._size()
        load_balancer_id = LoadBalancerId(new_id())
        owner = vip_owner(load_balancer_id)
        network = self.world.network
        try:
            ports = [
                await network.create_port(
                    PortWish(id=PortId(new_id()), owner=owner, subnet_id=subnet)
                )
                for subnet in layouts.vip_subnets(size)[:vips]
            ]
        except ColonnadeError:
            return
        tree = new_tree(load_balancer_id, ports[0])
        first, *more = (
            replace(vip_of(port), via_subnet_id=layouts.via(size, place))
            for place, port in enumerate(ports)
        )
        tree = replace(tree, vip=first, additional_vips=tuple(more))
        wish = Wish(tree, len(self.wishes) + 1, size)
        self.wishes.append(wish)
        for port in ports:
            self.world.history.name(port.id, f"load balancer {wish.number}")
        self.world.clusters[ports[0].id] = wish.cluster_id
        self._note_size(wish)
        self.world.say(f"load balancer {wish.number} is created, {len(ports)} VIPs, {told(size)}")
        try:
            terms = wishes.Terms(size=size)
            await wishes.create(self._api(), tree, NoObjections(), terms=terms)
        except ColonnadeError as error:
            self.world.say(f"its answer: {error}")
            return
        wish.is_there = True
        wish.kept.update(m.id for pool in tree.pools for m in pool.members)

    async def add_member(self, wish: Wish) -> None:
        fresh = member(self._random.randrange(20, 200), PRIVATE_SUBNET)
        wish.unsure.add(fresh.id)
        try:
            async with self._editing(wish) as edit:
                (pool,) = edit.tree.pools
                if len(pool.members) >= MEMBERS_MAX:
                    return
                edit.tree = edit.tree.with_pool(with_child(pool, MEMBERS, fresh))
        except ColonnadeError:
            return
        self.world.say(f"a member of load balancer {wish.number} is added")
        wish.unsure.discard(fresh.id)
        wish.kept.add(fresh.id)

    async def drop_member(self, wish: Wish) -> None:
        if not wish.kept:
            return
        gone = self._random.choice(sorted(wish.kept))
        wish.kept.discard(gone)
        wish.unsure.add(gone)
        try:
            async with self._editing(wish) as edit:
                (pool,) = edit.tree.pools
                edit.tree = edit.tree.with_pool(without_child(pool, MEMBERS, gone))
        except ColonnadeError:
            return
        self.world.say(f"a member of load balancer {wish.number} is dropped")
        wish.unsure.discard(gone)

    async def resize(self, wish: Wish) -> None:
        """As another flavor says."""
        size = self.world.layouts.choice(layouts.others(wish.size))
        self.world.say(f"load balancer {wish.number} is to be {told(size)}")
        wish.sizes.add(size)
        self._note_size(wish)
        try:
            async with self._editing(wish) as edit:
                edit.tree = replace(edit.tree, description=new_id())
                edit.size = size
        except ColonnadeError as error:
            self.world.say(f"its answer: {error}")
            return
        wish.size, wish.sizes = size, {size}

    def _size(self) -> Sizing:
        if not self.world.manner.layouts:
            return layouts.ALONE
        return self.world.layouts.choice([size for kind in layouts.KINDS for size in kind])

    def _note_size(self, wish: Wish) -> None:
        if wish.sizes != {layouts.ALONE}:
            self.world.history.many.add(wish.cluster_id)
            self.world.history.free.update(wish.ports)

    async def watch(self) -> None:
        """For ever: nobody answers for a VIP beside another, where one has it."""
        while True:
            await asyncio.sleep(WATCH_S)
            for wish in self.wishes:
                subnets = {PUBLIC_SUBNET, PUBLIC_SUBNET_V6}
                found = layouts.answering(self.world, wish.ports, sorted(subnets))
                if len(found) > 1 and not wish.is_doubled:
                    wish.is_doubled = True
                    self.world.history.two_answer(wish.ports[0], found)

    async def delete(self, wish: Wish) -> None:
        self.world.say(f"load balancer {wish.number} is deleted")
        try:
            self.world.history.ended.add(wish.cluster_id)
            async with self._editing(wish) as edit:
                edit.delete()
            wish.is_there = False
        except ColonnadeError as error:
            self.world.say(f"its answer: {error}")
            wish.is_there = None

    async def fail_over(self, wish: Wish) -> None:
        """As an operator does, of a load balancer that works."""
        try:
            async with self._api().transaction() as connection:
                for amphora in await amphora_rows.of_cluster(connection, wish.cluster_id):
                    if amphora.state is State.SERVING:
                        await amphora_rows.advance(connection, amphora, Event.ASKED_TO_LEAVE)
                        self.world.history.leave(amphora.id)
                await work.mark(connection, f"cluster:{wish.cluster_id}")
        except ColonnadeError:
            return

    def _editing(self, wish: Wish) -> AbstractAsyncContextManager[edits.Edit]:
        return edits.editing(
            self._api(), LOAD_BALANCERS, wish.id, project=None, review=NoObjections()
        )


def told(size: Sizing) -> str:
    shared = " shared" * (size.per_amphora > 1)
    return f"{size.topology} {size.front_end} {size.amphorae}{shared}"

# SPDX-License-Identifier: Apache-2.0
"""Make the amphorae of one cluster serve the trees that its owner wants.

`reconcile` is told where to look, never what happened. It looks, plans, takes the steps, and
looks again, until all is as wanted or something must be waited for. Two controllers may run it
at once: an amphora refuses a generation older than it has, and the store lends no more than a
topology needs. Creating, changing, failing over and ending are this one path.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from msgspec.structs import replace

from colonnade.controller import account
from colonnade.controller.announcing import heard
from colonnade.controller.cloud_network import let_through, prepared
from colonnade.controller.forwarding import forward
from colonnade.controller.handing_over import HandingOver, moved
from colonnade.controller.known_subnets import KnownSubnets
from colonnade.controller.leading import lead, present_routes
from colonnade.controller.loop import together
from colonnade.controller.metrics import FENCED, WISH_SECONDS
from colonnade.controller.planning import (
    Borrow,
    Deploy,
    Facts,
    Fence,
    GiveBack,
    HandOver,
    Join,
    Lead,
    Leave,
    Make,
    Plug,
    Release,
    Restore,
    Settle,
    StandDown,
    StandUp,
    Step,
    Withdraw,
    may_ask,
    own_port_id,
)
from colonnade.controller.routed import is_announced
from colonnade.controller.spares import SPARE_FRESH_S
from colonnade.controller.standing_down import drain, stand_down
from colonnade.controller.topologies import Wires, plan, port_ids, told_of, wires
from colonnade.domain.addresses import canonical
from colonnade.domain.errors import (
    Broken,
    ColonnadeError,
    Contended,
    NotFound,
    OutOfCapacity,
    Unavailable,
    Unplaceable,
    Unreachable,
)
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import AmphoraId, ClusterId, PortId
from colonnade.domain.lifecycle import ANSWERING, Event, State
from colonnade.drivers.amphora.protocol import AmphoraDriver
from colonnade.drivers.compute.protocol import ComputeDriver, InstanceState
from colonnade.drivers.network.protocol import NetworkDriver, Port, PortWish, vip_owner
from colonnade.store.fleet import amphora_rows, clusters, failovers, troubles
from colonnade.store.fleet import pairs as pair_rows
from colonnade.store.fleet.failovers import Rules
from colonnade.store.fleet.safe_mode import Cause
from colonnade.store.postgres.database import Connection, Database
from colonnade.store.queue import events
from colonnade.store.reports import statuses
from colonnade.store.trees import wishes

ROUNDS_MAX: Final = 12  # looks in one pass; a failover that meets dead spares takes some
PATIENCE: Final = 3  # failed pushes to a lent spare that never answered
WATCH_S: Final = 0.5  # between looks after an amphora that takes its time

log = structlog.get_logger()


class Clusters:
    """The reconciler of `cluster:<id>`."""

    def __init__(
        self,
        database: Database,
        network: NetworkDriver,
        compute: ComputeDriver,
        amphorae: AmphoraDriver,
        rules: Rules | None = None,
    ) -> None:
        self._database = database
        self._network = network
        self._compute = compute
        self._amphorae = amphorae
        self._handing_over = HandingOver(database, network, amphorae)
        self._rules = rules or Rules()
        self._tried: dict[str, int] = {}  # cluster -> generation of the pass under way
        self._unanswered: dict[AmphoraId, int] = {}  # lent, never yet answered: failed pushes
        self._unreached: set[AmphoraId] = set()  # by the last push
        self._subnets = KnownSubnets(network)

    async def reconcile(self, name: str) -> float | None:
        first = generation = 0
        for _ in range(ROUNDS_MAX):
            look = await self._look(ClusterId(name))
            if look is None:
                return None
            wanted, facts = look
            self._tried[name] = generation = wanted.generation
            first = first or generation
            steps = plan(wanted, facts)
            account.looked(*account.in_words(wanted, facts))
            account.planned(*(type(step).__name__.lower() for step in steps))
            await together(*(self._take(step, wanted, facts) for step in steps))
            if not steps or any(isinstance(step, Settle) for step in steps):
                self._tried.pop(name, None)
                return None  # an amphora that is gone marks its cluster
        if generation > first:
            return 0.0  # somebody goes on changing it: what is served follows, and nothing failed
        raise Contended(f"cluster {name} is not as wanted after {ROUNDS_MAX} looks")

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        now = datetime.now(UTC)
        failure = clusters.Failure(
            code=type(error).__name__,
            message=error.public,
            at=now,
            retry_at=now + timedelta(seconds=retry_in_s),
        )
        await self._record_failure(ClusterId(name), self._tried.pop(name, 0), failure)

    async def record_refusal(self, cluster_id: ClusterId, generation: int, reason: str) -> None:
        """An amphora that fetched this generation by itself could not serve it."""
        failure = clusters.Failure(code="Rejected", message=reason, at=datetime.now(UTC))
        await self._record_failure(cluster_id, generation, failure)

    async def _record_failure(
        self, cluster_id: ClusterId, generation: int, failure: clusters.Failure
    ) -> None:
        async with self._database.transaction() as connection:
            if not await clusters.record_failure(connection, cluster_id, generation, failure):
                return  # each attempt fails alike, and once told is enough
            wanted = await wishes.wanted(connection, cluster_id)
            if wanted is not None:
                await _tell(connection, wanted, "failed", failure.message)

    async def bundle_facts(self, amphora: Amphora) -> tuple[Cluster, Wires] | None:
        """What an amphora that asks for it should serve, None while that is not settled."""
        if amphora.state not in ANSWERING or amphora.cluster_id is None:
            return None
        look = await self._look(amphora.cluster_id)
        if look is None:
            return None
        wanted, facts = look
        if wanted.deleted or not may_ask(plan(wanted, facts), amphora):
            return None
        return wanted, await self._wires(wanted, amphora, facts)

    async def _look(self, cluster_id: ClusterId) -> tuple[Cluster, Facts] | None:
        async with self._database.read() as connection:
            look = await clusters.next_look(connection)
            wanted = await wishes.wanted(connection, cluster_id)
            if wanted is None:
                return None
            present = await amphora_rows.of_cluster(connection, cluster_id)
        names = port_ids(wanted, present)
        ports = {name: port for name in names if (port := await self._port(name)) is not None}
        return replace(wanted, look=look), Facts(
            amphorae=present,
            ports=ports,
            routes=await present_routes(self._network, wanted),
            unreached=frozenset(self._unreached),
        )

    async def _port(self, port_id: PortId) -> Port | None:
        try:
            return await self._network.port(port_id)
        except NotFound:
            return None

    async def _take(self, step: Step, wanted: Cluster, facts: Facts) -> None:  # noqa: C901, PLR0912 - a table
        match step:
            case Fence(amphora):
                await self._compute.destroy(amphora.id)
                await self._advance(amphora, Event.FENCED)
                FENCED.inc()
            case Release(amphora):
                await self._advance(amphora, Event.RELEASED)
            case Borrow(otherwise):
                await self._borrow(wanted, facts, otherwise)
            case Restore(load_balancer, vip):
                if not vip.owned:
                    raise Broken(f"the VIP's port {vip.port_id} no longer exists")
                owner = vip_owner(load_balancer.id)
                await self._network.create_port(
                    PortWish(
                        id=vip.port_id,
                        owner=owner,
                        subnet_id=vip.subnet_id,
                        address=canonical(vip.address),
                        project_id=load_balancer.project_id if self._network.cloud else "",
                    )
                )
            case Make(wish):
                await self._network.create_port(wish)
            case Plug(amphora, port_id):
                await self._plug(amphora, port_id, wanted)
            case Join(amphora, subnet_id):
                port_id = own_port_id(amphora.id, subnet_id)
                owner = f"amphora:{amphora.id}"
                await self._network.create_port(
                    PortWish(id=port_id, owner=owner, subnet_id=subnet_id)
                )
                await self._plug(amphora, port_id, wanted)
            case Deploy(amphora):
                await self._deploy(amphora, wanted, facts)
            case Leave(amphora):
                await self._advance(amphora, Event.ASKED_TO_LEAVE)
            case HandOver():
                await self._hand_over(step, wanted, facts)
            case StandUp():
                await self._stand_up(step, wanted, facts)
            case StandDown(amphora):
                await stand_down(
                    self._amphorae, amphora, wanted, await self._wires(wanted, amphora, facts)
                )
                await self._take(Fence(amphora), wanted, facts)
            case Lead(routes, drained):
                await drain(self._amphorae, drained)
                await lead(self._network, facts.routes, routes)
            case Withdraw(then):
                await drain(self._amphorae, [then.amphora])
                await self._take(then, wanted, facts)
            case GiveBack(port_id):
                await self._network.delete_port(port_id)
            case Settle():
                await self._settle(wanted)

    async def _borrow(self, wanted: Cluster, facts: Facts, otherwise: Sequence[Step]) -> None:
        is_served = any(a.state is State.LEAVING for a in facts.amphorae)
        # One half of a pair serves as well as two, and goes on telling how all is.
        is_whole = any(a.state is State.SERVING and a.applied for a in facts.amphorae)
        try:
            async with self._database.transaction() as connection:
                await amphora_rows.lend_spare(connection, wanted.id, wanted.topology, SPARE_FRESH_S)
        except OutOfCapacity as error:
            if isinstance(error, Unplaceable) and not (is_served or is_whole):
                word, now = type(error).__name__, datetime.now(UTC)
                failure = clusters.Failure(code=word, message=error.public, at=now)
                await self._record_failure(wanted.id, wanted.generation, failure)
            async with self._database.transaction() as connection:
                await amphora_rows.ask_for_spare(connection, wanted.flavor)
                if not is_whole:
                    await statuses.record_lack(connection, wanted.id, is_served=is_served)
            await together(*(self._take(step, wanted, facts) for step in otherwise))
            raise

    async def _plug(self, amphora: Amphora, port_id: PortId, wanted: Cluster) -> None:
        if amphora.applied >= wanted.generation:
            # A new interface needs its addresses from the agent, so what it answered is void.
            async with self._database.transaction() as connection:
                await amphora_rows.forget_applied(connection, amphora)
        try:
            await self._network.plug(port_id, amphora.id)
        except (NotFound, Unavailable):
            if not await self._is_dead(amphora):
                raise
            await self._give_up(amphora, Cause.NOT_RUNNING)

    async def _deploy(self, amphora: Amphora, wanted: Cluster, facts: Facts) -> None:
        wires = await self._wires(wanted, amphora, facts)
        try:
            generation = await self._push(amphora, wanted, wires)
            if is_announced(wanted):
                await heard(self._amphorae, amphora)
        except Unreachable as error:
            self._unreached.add(amphora.id)
            cause = await self._lost_by(amphora)
            if cause is None:
                async with self._database.transaction() as connection:
                    await troubles.applies_nothing(connection, amphora.id, error.public)
                await self._notify(amphora)
                raise
            await self._give_up(amphora, cause)
            return
        self._unanswered.pop(amphora.id, None)
        self._unreached.discard(amphora.id)
        async with self._database.transaction() as connection:
            if (others := told_of(wanted, amphora, facts)) is not None:
                peer_id, port = others
                await pair_rows.record_told(connection, amphora.id, peer_id, port.id, port.address)
            await amphora_rows.record_applied(connection, amphora, generation)

    async def _hand_over(self, step: HandOver, wanted: Cluster, facts: Facts) -> None:
        after = moved(moved(facts, step.cut), step.port_ids, step.amphora.id)
        after = await prepared(self._network, after, step.amphora, step.port_ids)
        wires = await self._wires(wanted, step.amphora, after)
        push = self._push(step.amphora, wanted, wires)
        generation = await self._handing_over.to_one(step, facts, push)
        async with self._database.transaction() as connection:
            await amphora_rows.record_applied(connection, step.amphora, generation)

    async def _stand_up(self, step: StandUp, wanted: Cluster, facts: Facts) -> None:
        await self._handing_over.from_one(step.halves, step.cut, facts)
        after = moved(facts, step.cut)
        await together(*(self._deploy(half, wanted, after) for half in step.halves))

    async def _push(self, amphora: Amphora, wanted: Cluster, wires: Wires) -> int:
        """The generation it answers with. An amphora that freezes holds the call, so it is looked
        after meanwhile: given up elsewhere, it must be fenced now. Raises Contended then."""
        await forward(self._network, wanted)
        await let_through(self._network, wanted, amphora, wires)
        pushing = asyncio.ensure_future(self._amphorae.apply(amphora, wanted, *wires))
        try:
            while not (await asyncio.wait([pushing], timeout=WATCH_S))[0]:
                async with self._database.read() as connection:
                    now = await amphora_rows.amphora(connection, amphora.id)
                if now is None or now.state not in ANSWERING:
                    raise Contended(f"amphora {amphora.id} was given up while it was told")
            return pushing.result()
        finally:
            pushing.cancel()
            await asyncio.wait([pushing])

    async def _notify(self, amphora: Amphora) -> None:
        """A datagram may come through where a push does not; then it asks for its bundle."""
        with contextlib.suppress(ColonnadeError):  # the push that failed is what is told
            await self._amphorae.notify(amphora)

    async def _lost_by(self, amphora: Amphora) -> Cause | None:
        """Why to give it up. Of one that has served, liveness decides by its heartbeats."""
        if await self._is_dead(amphora):
            return Cause.NOT_RUNNING
        if amphora.applied > 0:
            return None
        count = self._unanswered.pop(amphora.id, 0) + 1
        if count < PATIENCE:
            self._unanswered[amphora.id] = count
        return Cause.UNANSWERED if count >= PATIENCE else None

    async def _give_up(self, amphora: Amphora, cause: Cause) -> None:
        """Raises Unavailable when it may not be replaced now."""
        async with self._database.transaction() as connection:
            found = await failovers.fail(connection, {amphora.id: (cause, "")}, self._rules)
        failovers.tell(found)
        if found.held:
            raise Unavailable(f"amphora {amphora.id} is {cause.value}, and not replaced for now")

    async def _is_dead(self, amphora: Amphora) -> bool:
        instance = await self._compute.instance(amphora.id)
        return instance is None or instance.state is InstanceState.STOPPED

    async def _settle(self, wanted: Cluster) -> None:
        async with self._database.transaction() as connection:
            # Before the rows that the event tells of are gone.
            owner = wanted if wanted.load_balancers else None
            waited_s = await clusters.unsettled_s(connection, wanted.id, wanted.generation)
            if await clusters.settle(connection, wanted.id, wanted.generation) and owner:
                word = "gone" if wanted.deleted else "applied"
                await _tell(connection, owner, word, f"generation {wanted.generation} is {word}")
        if waited_s is not None:
            WISH_SECONDS.observe(waited_s)

    async def _advance(self, amphora: Amphora, event: Event) -> None:
        async with self._database.transaction() as connection:
            await amphora_rows.advance(connection, amphora, event)
        log.info("amphora", amphora_id=amphora.id, event_kind=event.value)

    async def _wires(self, wanted: Cluster, amphora: Amphora, facts: Facts) -> Wires:
        subnets = await self._subnets.with_these(port.subnet_id for port in facts.ports.values())
        try:
            return wires(wanted, amphora, facts, subnets)
        except KeyError as missing:
            raise Contended(f"a port or subnet is gone: {missing}") from missing


async def _tell(connection: Connection, wanted: Cluster, kind: str, message: str) -> None:
    for load_balancer in wanted.load_balancers:
        await events.record(
            connection,
            events.Event(
                object_kind="cluster",
                object_id=wanted.id,
                kind=kind,
                message=message,
                load_balancer_id=load_balancer.id,
                project_id=load_balancer.project_id,
                generation=wanted.generation,
            ),
        )

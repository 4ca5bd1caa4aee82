# SPDX-License-Identifier: Apache-2.0
"""Compare what drivers have with what rows know, in both directions.

A port, route or instance that no row names for a whole minute is removed. The minute is needed
because a thing may be made before its row. Where most things are unknown, the database may be
another system's: then nothing is removed for a whole day. An amphora that a row needs and that does
not run is reported lost at once; safe mode decides whether it is replaced now. A port for members
is removed soon after no member is on its subnet: members are stored before their port is made. Only
things that carry our own marks are touched. Where a VIP's port is gone, its cluster looks again.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from colonnade.controller import account
from colonnade.controller.planning import own_port_id
from colonnade.domain.errors import ColonnadeError
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId, ClusterId, SubnetId, read_id
from colonnade.domain.lifecycle import State
from colonnade.drivers.compute.protocol import ComputeDriver, InstanceState
from colonnade.drivers.network.protocol import NetworkDriver, Port, is_vip, load_balancer_of
from colonnade.runtime.clock import loop_time
from colonnade.store.fleet import amphora_rows, clusters, failovers
from colonnade.store.fleet.failovers import Rules
from colonnade.store.fleet.safe_mode import Cause
from colonnade.store.postgres.database import Database
from colonnade.store.queue import work

LOOK_S: Final = 20.0
FORGOTTEN_S: Final = 5 * LOOK_S  # what was unknown at a look so long ago may have been known since
PATIENCE_S: Final = 60.0
LINGER_S: Final = 20.0  # for what is still asked of members that are gone
DOUBTED_FROM: Final = 5  # unknown things
DOUBTING_S: Final = 86_400.0

log = structlog.get_logger()


class Leaks:
    """The reconciler of `leaks:all`. `patience_s`: how long a thing may be unknown."""

    def __init__(
        self,
        database: Database,
        network: NetworkDriver,
        compute: ComputeDriver,
        *,
        patience_s: float = PATIENCE_S,
        rules: Rules | None = None,
    ) -> None:
        self._database = database
        self._network = network
        self._compute = compute
        self._patience_s = patience_s
        self._rules = rules or Rules()
        self._unknown_since: dict[str, float] = {}
        self._looked_at = 0.0

    async def reconcile(self, _name: str) -> float | None:
        # Things first: what is made after this look is not missed in the rows.
        found = await self._compute.instances()
        instances = {i.amphora_id: i.state for i in found}
        ports = [port for port in await self._network.ports() if _is_ours(port)]
        router = self._network.router
        routes = [r for r in await router.routes() if is_vip(r.owner)] if router else []
        async with self._database.read() as connection:
            await amphora_rows.record_hosts(connection, {i.amphora_id: i.host for i in found})
            rows = {a.id: a for a in await amphora_rows.everyone(connection)}
            owners = {load_balancer_of(p.owner) for p in ports if is_vip(p.owner)}
            owners |= {load_balancer_of(route.owner) for route in routes}
            balancers = await clusters.load_balancers_among(connection, sorted(owners))
            subnets = await clusters.own_subnets(connection, sorted(_clusters(ports, rows)))
            there = {port.wish_id or port.id for port in ports} | {port.id for port in ports}
            for cluster_id in await clusters.without_vip_port(connection, sorted(there)):
                await work.mark(connection, f"cluster:{cluster_id}")
        strangers = [i for i in instances if i not in rows]
        stray = [p for p in ports if _is_stray(p, rows, balancers)]
        idle = [p for p in ports if p not in stray and _is_idle(p, rows, subnets)]
        lost = [r.destination for r in routes if load_balancer_of(r.owner) not in balancers]
        account.looked(
            "nothing unknown",
            f"{len(strangers)} instances, {len(stray)} ports and {len(lost)} routes so",
        )
        unknown = [*strangers, *(port.id for port in stray), *lost]
        own = len(instances) + len(ports) + len(routes)
        is_doubted = len(unknown) >= DOUBTED_FROM and 2 * len(unknown) > own
        if is_doubted:
            log.error("most things are unknown to this database: is it the right one?", of=own)
        waited_s = self._waited_s([*unknown, *(port.id for port in idle)])
        patience_s = DOUBTING_S if is_doubted else self._patience_s
        due = {name for name in unknown if waited_s[name] >= patience_s}
        account.planned(*[f"{len(due)} removals"] * bool(due))
        for amphora_id in strangers:
            if amphora_id in due:
                log.warning("a leaked instance is removed", amphora_id=amphora_id)
                await self._compute.destroy(amphora_id)
        for port in stray:
            if port.id in due:
                log.warning("a leaked port is removed", port_id=port.id, owner=port.owner)
                await self._network.delete_port(port.id)
        for destination in due.intersection(lost):
            assert router is not None, "it had the route"
            log.warning("a leaked route is removed", destination=destination)
            await router.delete_route(destination)
        for port in idle:
            if waited_s[port.id] >= min(LINGER_S, self._patience_s):
                await self._leave(port, rows)
        await self._report_losses(rows.values(), instances)
        return LOOK_S

    async def record(self, name: str, error: ColonnadeError, retry_in_s: float) -> None:
        """Nothing to tell an owner: the loop has logged it."""

    async def _leave(self, port: Port, rows: dict[AmphoraId, Amphora]) -> None:
        """Its cluster looks again, for it may have members there by now."""
        amphora_id = _amphora_of(port)
        log.info("an amphora leaves a subnet", amphora_id=amphora_id, subnet_id=port.subnet_id)
        await self._network.delete_port(port.id)
        cluster_id = rows[amphora_id].cluster_id
        if cluster_id is not None:
            async with self._database.transaction() as connection:
                await work.mark(connection, f"cluster:{cluster_id}")

    async def _report_losses(
        self, rows: Iterable[Amphora], instances: dict[AmphoraId, InstanceState]
    ) -> None:
        lost = []
        for amphora in rows:
            if instances.get(amphora.id) is InstanceState.RUNNING:
                continue
            now = await self._compute.instance(amphora.id)  # it may be younger than the list
            if now is None or now.state is not InstanceState.RUNNING:
                lost.append(amphora)
        # One that was booting at the look may run by the time that this is judged.
        booting = [one for one in lost if one.state is State.BOOTING]
        gone = {one.id: (Cause.NOT_RUNNING, "") for one in lost if one not in booting}
        async with self._database.transaction() as connection:
            for amphora in booting:
                await work.mark(connection, f"amphora:{amphora.id}")
            judged = await failovers.fail(connection, gone, self._rules)
        failovers.tell(judged)

    def _waited_s(self, ids: Sequence[str]) -> dict[str, float]:
        """Since when each is so, as far as this controller saw."""
        now = loop_time()
        if now - self._looked_at > FORGOTTEN_S:  # another controller looked meanwhile
            self._unknown_since = {}
        self._looked_at = now
        self._unknown_since = {name: self._unknown_since.get(name, now) for name in ids}
        return {name: now - since for name, since in self._unknown_since.items()}


def _is_ours(port: Port) -> bool:
    """Whether it carries the mark of an amphora or load balancer of ours."""
    kind, _, owner = port.owner.partition(":")
    try:
        return kind in ("lb", "amphora") and read_id(owner) == owner
    except ValueError:
        return False


def _clusters(ports: Iterable[Port], rows: dict[AmphoraId, Amphora]) -> set[ClusterId]:
    """Of the amphorae that have ports of their own."""
    owners = {p.owner.partition(":")[2] for p in ports if p.owner.startswith("amphora:")}
    found = {rows[AmphoraId(owner)].cluster_id for owner in owners if owner in rows}
    return {cluster_id for cluster_id in found if cluster_id is not None}


def _is_stray(port: Port, rows: dict[AmphoraId, Amphora], balancers: set[str]) -> bool:
    if is_vip(port.owner):
        return load_balancer_of(port.owner) not in balancers
    return _amphora_of(port) not in rows


def _is_idle(
    port: Port, rows: dict[AmphoraId, Amphora], subnets: set[tuple[ClusterId, SubnetId]]
) -> bool:
    """A port on a subnet where its cluster has neither members any more nor, of a pair, VIPs."""
    amphora = rows.get(_amphora_of(port))
    wished = port.wish_id or port.id
    if amphora is None or wished != own_port_id(amphora.id, port.subnet_id):
        return False
    return (amphora.cluster_id, port.subnet_id) not in subnets


def _amphora_of(port: Port) -> AmphoraId:
    return AmphoraId(port.owner.partition(":")[2])

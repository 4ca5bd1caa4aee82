# SPDX-License-Identifier: Apache-2.0
"""The haproxy driver: objections, a rendered bundle, and the way to the amphora put together.

It keeps no state but the templates, read once as it is made, so a broken one is known before
anything is served with it. What a bundle takes to become live is the agent's business.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from colonnade.domain.errors import Broken, Invalid, Unreachable
from colonnade.domain.fleet import Amphora, Cluster
from colonnade.domain.ids import AmphoraId
from colonnade.domain.secrets import SecretType
from colonnade.domain.tree import LoadBalancer
from colonnade.drivers.amphora.haproxy import certificates
from colonnade.drivers.amphora.haproxy.client import Outdated
from colonnade.drivers.amphora.haproxy.objections import objections
from colonnade.drivers.amphora.haproxy.render import Templates, render
from colonnade.drivers.amphora.protocol import Objection
from colonnade.drivers.secrets.protocol import Secrets
from colonnade.protocol.bundle import BUNDLE_BYTES_MAX, Bundle, Interface, Pair, Secret
from colonnade.protocol.messages import Applied, Drain, Drained, NewSeat, StatusReport
from colonnade.runtime.config import Config

DRAIN_MS: Final = 500  # for what is short
CLOSED_S: Final = 2  # until the ports have surely moved, or it takes clients again


class Agents(Protocol):
    """The agents of all amphorae, each reached by its address and known by its certificate."""

    async def put_bundle(self, address: str, amphora_id: str, bundle: Bundle) -> Applied: ...

    async def status(self, address: str, amphora_id: str) -> StatusReport: ...

    async def drain(self, address: str, amphora_id: str, asked: Drain) -> Drained: ...

    async def open_seat(self, address: str, amphora_id: str, seat: NewSeat) -> None: ...

    async def close_seat(self, address: str, amphora_id: str, seat_id: str) -> None: ...

    def notify(self, address: str, amphora_id: str, key: bytes) -> None: ...


HeartbeatKey = Callable[[AmphoraId], Awaitable[bytes | None]]


class HaproxyDriver:
    """An `AmphoraDriver`. Raises Broken as it is made when a template does not do.

    `key_of` finds the key that a notice is signed with; without one nobody is notified, and
    amphorae learn of their tasks when they next ask by themselves. Without `secrets` no
    certificate is found."""

    name = "haproxy"

    def __init__(
        self,
        config: Config,
        agents: Agents,
        key_of: HeartbeatKey | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        self._agents = agents
        self._key_of = key_of
        self._secrets = secrets
        self._templates = Templates.load(config.templates_dir)

    def objections(self, tree: LoadBalancer) -> Sequence[Objection]:
        return objections(tree)

    async def bundle(
        self, wanted: Cluster, interfaces: Sequence[Interface], pair: Pair | None = None
    ) -> Bundle:
        """What an amphora that asks for it by itself is given. Raises Broken, and Unavailable
        when waiting may help."""
        try:
            bundle = render(wanted, interfaces, self._templates, pair)
        except Invalid as wrong:
            # An older release may have stored a tree that this release would refuse.
            raise Broken(f"the load balancer cannot be served: {wrong.public}") from wrong
        found: dict[str, Secret] = {}
        for tree in wanted.load_balancers:
            found |= await self._fetch(tree, bundle.config)
        bundle = replace(bundle, secrets=found) if found else bundle
        size = len(msgspec.json.encode(bundle))
        if size > BUNDLE_BYTES_MAX:
            raise Broken(
                f"the configuration of the load balancers on an amphora has {size >> 20} MiB, more "
                f"than the {BUNDLE_BYTES_MAX >> 20} that it takes: have fewer members, L7 rules or "
                "certificates, or several load balancers"
            )
        return bundle

    async def _fetch(self, tree: LoadBalancer, config: str) -> dict[str, Secret]:
        """What haproxy's file names of the tree's secrets; the others stay where they are."""
        files = [one for one in certificates.files(tree) if certificates.path(one.name) in config]
        if not files:
            return {}
        if self._secrets is None:
            raise Broken("certificates cannot be served: no store of secrets is configured")
        pem = await self._secrets.fetch(tree.project_id, {one.reference for one in files})
        return {
            one.name: Secret(pem[one.reference], in_place=one.type is SecretType.CERTIFICATE)
            for one in files
        }

    async def apply(
        self,
        amphora: Amphora,
        wanted: Cluster,
        interfaces: Sequence[Interface],
        pair: Pair | None = None,
    ) -> int:
        bundle = await self.bundle(wanted, interfaces, pair)
        try:
            applied = await self._agents.put_bundle(_address(amphora), amphora.id, bundle)
        except Outdated as newer:
            return newer.generation  # another controller has pushed a newer generation
        return applied.generation

    async def observe(self, amphora: Amphora) -> StatusReport:
        return await self._agents.status(_address(amphora), amphora.id)

    async def drain(self, amphora: Amphora) -> None:
        asked = Drain(within_ms=DRAIN_MS, closed_s=CLOSED_S)
        await self._agents.drain(_address(amphora), amphora.id, asked)

    async def open_seat(self, carrier: Amphora, seat: Amphora, drive: Mapping[str, str]) -> None:
        new = NewSeat(id=seat.id, drive=dict(drive))
        await self._agents.open_seat(_address(carrier), carrier.id, new)

    async def close_seat(self, carrier: Amphora, seat: Amphora) -> None:
        await self._agents.close_seat(_address(carrier), carrier.id, seat.id)

    async def notify(self, amphora: Amphora) -> None:
        key = await self._key_of(amphora.id) if self._key_of is not None else None
        if key is not None:
            self._agents.notify(_address(amphora), amphora.id, key)


def _address(amphora: Amphora) -> str:
    if amphora.lb_network_ip is None:
        raise Unreachable(f"amphora {amphora.id} has no address yet")
    return amphora.lb_network_ip

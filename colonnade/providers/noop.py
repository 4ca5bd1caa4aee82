# SPDX-License-Identifier: Apache-2.0
"""A provider that serves nothing: for conformance suites and load tests of the API alone.

It accepts any network, subnet, port or certificate id without a look, makes up what is not
given, and settles at once. An address that was not given is one of TEST-NET-2 (198.51.100.0/24,
RFC 5737), the same for the same load balancer; two load balancers may well share one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from colonnade.domain.catalogue import FlavorFacts, Sizing, ZoneFacts
from colonnade.domain.ids import NetworkId, SubnetId, derived_id
from colonnade.domain.pools import Member
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.drivers.amphora.protocol import Objection
from colonnade.drivers.network.protocol import Taken
from colonnade.providers import offers
from colonnade.providers.provider import Preview, VipWish


class NoopProvider:
    name = "noop"
    settles_at_once = True
    reads_secrets = False

    def objections(self, tree: LoadBalancer) -> Sequence[Objection]:  # noqa: ARG002 - has none
        return ()

    def preview(
        self,
        before: LoadBalancer | None,  # noqa: ARG002 - serves none
        after: LoadBalancer | None,  # noqa: ARG002
    ) -> Preview | None:
        return None

    async def allocate_vip(self, wish: VipWish) -> Vip:
        root = wish.load_balancer_id
        return Vip(
            address=wish.address or f"198.51.100.{UUID(root).int % 254 + 1}",
            port_id=wish.port_id or wish.own_port_id,
            subnet_id=wish.subnet_id or SubnetId(derived_id(root, "subnet")),
            network_id=wish.network_id or NetworkId(derived_id(root, "network")),
            owned=wish.port_id is None,
            qos_policy_id=wish.qos_policy_id,
            sg_ids=wish.sg_ids,
        )

    async def taken(self, vips: Sequence[Vip]) -> Sequence[Taken]:  # noqa: ARG002 - any port will do
        return ()

    async def check_members(
        self, members: Sequence[Member], beside: Collection[SubnetId] = (), *, token: str = ""
    ) -> None:
        """Any subnet and address will do."""

    async def check_size(self, vips: Sequence[Vip], size: Sizing) -> None:
        """Nothing serves it, in any size."""

    async def release_vip(self, vip: Vip) -> None:
        """Nothing was made, so there is nothing to give back."""

    def validate_flavor(self, data: Mapping[str, Any]) -> FlavorFacts:
        return offers.read_flavor(self.name, data)

    def flavor_capabilities(self) -> Mapping[str, str]:
        return offers.FLAVOR_CAPABILITIES

    def validate_availability_zone(self, data: Mapping[str, Any]) -> ZoneFacts:
        return offers.read_zone(self.name, data)

    def availability_zone_capabilities(self) -> Mapping[str, str]:
        return offers.ZONE_CAPABILITIES

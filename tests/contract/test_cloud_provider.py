# SPDX-License-Identifier: Apache-2.0
"""What users ask for is looked up in a cloud with their own eyes, and an address that an amphora
will lack is missed before anything is stored."""

from collections.abc import AsyncIterator

import pytest

from colonnade.domain.errors import Incompatible, Invalid, OutOfCapacity, Unavailable
from colonnade.domain.ids import LoadBalancerId, MemberId, PortId, SubnetId, new_id
from colonnade.domain.pools import Member
from colonnade.drivers.network.protocol import PortWish, vip_owner
from colonnade.providers.amphora import AmphoraProvider
from colonnade.providers.provider import VipWish
from tests.cloud_site import CloudSite, cloud_site
from tests.contract.test_network_driver import subnet_of


@pytest.fixture
async def site() -> AsyncIterator[CloudSite]:
    async with cloud_site() as made:
        yield made


@pytest.fixture
def provider(site: CloudSite) -> AmphoraProvider:
    return AmphoraProvider(site.networks)


@pytest.fixture
def token(site: CloudSite) -> str:
    """Of a member of the project `shop`, who sees shared networks and what is the project's."""
    return site.nova.neutron.keystone.issue("member", project="shop").secret


def wish(token: str, **said: str) -> VipWish:
    load_balancer_id = LoadBalancerId(new_id())
    return VipWish(
        load_balancer_id=load_balancer_id, token=token, project_id="shop", **said,  # type: ignore[arg-type]
    )  # fmt: skip


async def test_a_vip_is_the_projects_own_where_the_user_may_have_it(
    site: CloudSite, provider: AmphoraProvider, token: str
) -> None:
    public, private = [await subnet_of(site.networks, name) for name in ("public", "private")]
    asked = wish(token, subnet_id=public.id)
    vip = await provider.allocate_vip(asked)
    shown = site.nova.neutron.ports[vip.port_id]
    assert shown["project_id"] == "shop"
    assert shown["device_id"] == f"lb-{asked.load_balancer_id}"
    assert await provider.allocate_vip(asked) == vip
    assert token not in repr(asked)
    for said in ({"subnet_id": private.id}, {"network_id": private.network_id}):
        with pytest.raises(Invalid, match="not found"):
            await provider.allocate_vip(wish(token, **said))
    foreign = PortWish(id=PortId(new_id()), owner=vip_owner(new_id()), subnet_id=public.id)
    port = await site.networks.create_port(foreign)
    for named in (port.id, foreign.id):  # by whichever of its ids
        with pytest.raises(Invalid, match="not found"):
            await provider.allocate_vip(wish(token, port_id=named))
    await provider.release_vip(vip)
    assert list(site.nova.neutron.ports) == [port.id]


async def test_members_are_on_subnets_that_the_user_sees(
    site: CloudSite, provider: AmphoraProvider, token: str
) -> None:
    public, private = [await subnet_of(site.networks, name) for name in ("public", "private")]

    async def check(subnet_id: SubnetId, address: str, token: str) -> None:
        member = Member(
            id=MemberId(new_id()), address=address, protocol_port=80, subnet_id=subnet_id
        )
        await provider.check_members([member], token=token)

    await check(public.id, "203.0.113.7", token)
    await check(private.id, "10.0.0.7", "")  # where nobody is told apart
    with pytest.raises(Invalid, match="not found"):
        await check(private.id, "10.0.0.7", token)
    with pytest.raises(Unavailable):
        await check(public.id, "203.0.113.7", "no token")


async def test_a_flavor_asks_for_nothing_that_a_cloud_has_not(provider: AmphoraProvider) -> None:
    provider.validate_flavor({"compute_flavor": "huge", "amp_image_tag": "next"})
    for data in ({"max_load_balancers": 2}, {"loadbalancer_topology": "ACTIVE_ACTIVE"}):
        with pytest.raises(Incompatible):
            provider.validate_flavor(data)


async def test_one_that_serves_alone_takes_an_address_beside_the_vip(
    site: CloudSite, provider: AmphoraProvider, token: str
) -> None:
    public = await subnet_of(site.networks, "public")
    for _ in range(await site.networks.free_addresses(public.id) - 1):
        site.nova.neutron.take(public.id)
    before = set(site.nova.neutron.ports)
    with pytest.raises(OutOfCapacity, match="too few free addresses"):
        await provider.allocate_vip(wish(token, subnet_id=public.id))
    assert set(site.nova.neutron.ports) == before


async def test_a_port_that_another_service_made_for_it_is_taken_over_and_stays(
    site: CloudSite, provider: AmphoraProvider, token: str
) -> None:
    """As Octavia makes it: with its owner, for the load balancer of this very id."""
    public = await subnet_of(site.networks, "public")
    of_it = LoadBalancerId(new_id())
    wished = PortWish(id=PortId(new_id()), owner=vip_owner(of_it), subnet_id=public.id)
    port = await site.networks.create_port(wished)
    shown = site.nova.neutron.ports[port.id]
    shown["description"] = ""  # no mark of ours
    asked = VipWish(load_balancer_id=of_it, port_id=port.id, address=port.address)
    vip = await provider.allocate_vip(asked)
    assert (vip.port_id, vip.address, vip.owned) == (port.id, port.address, False)
    await provider.release_vip(vip)
    assert port.id in site.nova.neutron.ports
    with pytest.raises(Invalid, match="already in use"):
        await provider.allocate_vip(wish("", port_id=port.id))

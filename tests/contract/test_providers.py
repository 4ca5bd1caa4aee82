# SPDX-License-Identifier: Apache-2.0
"""What every provider promises, held against each one there is."""

from uuid import uuid4

import pytest

from colonnade.domain.errors import Incompatible, Invalid
from colonnade.domain.ids import ClusterId, ListenerId, LoadBalancerId, PortId, ProjectId
from colonnade.domain.listeners import Listener
from colonnade.domain.tree import LoadBalancer, Vip
from colonnade.domain.vocabulary import ListenerProtocol
from colonnade.drivers.network.protocol import PortWish
from colonnade.providers.amphora import AmphoraProvider
from colonnade.providers.enabled import enabled_providers
from colonnade.providers.noop import NoopProvider
from colonnade.providers.provider import Provider, VipWish
from tests.fakes.network import PRIVATE_SUBNET, FakeNetwork


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture(params=["amphora", "noop"])
def provider(request: pytest.FixtureRequest, network: FakeNetwork) -> Provider:
    return AmphoraProvider(network) if request.param == "amphora" else NoopProvider()


def _wish(**more: str) -> VipWish:
    return VipWish(
        load_balancer_id=LoadBalancerId(str(uuid4())),
        subnet_id=PRIVATE_SUBNET,
        **more,  # type: ignore[arg-type]
    )


def _tree(vip: Vip, provider: str, *protocols: ListenerProtocol) -> LoadBalancer:
    return LoadBalancer(
        id=LoadBalancerId(str(uuid4())),
        project_id=ProjectId("p"),
        cluster_id=ClusterId(str(uuid4())),
        vip=vip,
        provider=provider,
        listeners=tuple(
            Listener(id=ListenerId(str(uuid4())), protocol=protocol, protocol_port=port)
            for port, protocol in enumerate(protocols, 80)
        ),
    )


async def test_a_vip_may_be_asked_for_again_and_given_back_twice(provider: Provider) -> None:
    wish = _wish(address="10.0.0.9")
    vip = await provider.allocate_vip(wish)
    assert vip == await provider.allocate_vip(wish)
    assert (vip.address, vip.subnet_id, vip.owned) == ("10.0.0.9", PRIVATE_SUBNET, True)
    await provider.release_vip(vip)
    await provider.release_vip(vip)


async def test_objections_are_pure_and_name_their_place(provider: Provider) -> None:
    tree = _tree(await provider.allocate_vip(_wish()), provider.name, ListenerProtocol.HTTP)
    first = provider.objections(tree)
    assert list(first) == list(provider.objections(tree))
    assert all(objection.reason and objection.path for objection in first)


async def test_a_port_that_the_user_brought_is_neither_made_nor_deleted(
    network: FakeNetwork,
) -> None:
    port_id = PortId(str(uuid4()))
    made = await network.create_port(PortWish(id=port_id, owner="", subnet_id=PRIVATE_SUBNET))
    provider = AmphoraProvider(network)
    root = LoadBalancerId(str(uuid4()))
    vip = await provider.allocate_vip(VipWish(load_balancer_id=root, port_id=port_id))
    assert (vip.address, vip.owned) == (made.address, False)
    await provider.release_vip(vip)
    assert network.has_port(port_id)
    other = VipWish(load_balancer_id=root, port_id=port_id, address="10.0.0.200")
    with pytest.raises(Invalid, match="vip_address"):
        await provider.allocate_vip(other)


async def test_a_vip_of_another_load_balancer_cannot_be_brought_along(
    network: FakeNetwork,
) -> None:
    provider = AmphoraProvider(network)
    theirs = await provider.allocate_vip(_wish())
    root = LoadBalancerId(str(uuid4()))
    with pytest.raises(Invalid, match="already in use"):
        await provider.allocate_vip(VipWish(load_balancer_id=root, port_id=theirs.port_id))


async def test_what_can_never_be_served_is_refused_and_what_is_lacking_is_told(
    network: FakeNetwork,
) -> None:
    providers = enabled_providers(("amphora", "noop"), default="noop", network=network)
    vip = await providers.get("amphora").allocate_vip(_wish())
    lacks = providers.lacks(_tree(vip, "amphora", ListenerProtocol.HTTP))
    assert any(path.endswith("/default_pool_id") for path, _ in lacks)
    with pytest.raises(Incompatible, match="Provider 'amphora' does not support a requested opt"):
        providers.lacks(_tree(vip, "amphora", ListenerProtocol.HTTP, ListenerProtocol.UDP))
    assert providers.lacks(_tree(vip, "noop", ListenerProtocol.UDP)) == []


def test_only_enabled_names_are_providers(network: FakeNetwork) -> None:
    providers = enabled_providers(("noop",), default="noop", network=network)
    with pytest.raises(Invalid, match="Provider 'amphora' is not enabled"):
        providers.get("amphora")
    assert [shown["name"] for shown in providers.shown()] == ["noop"]

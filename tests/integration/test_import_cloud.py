# SPDX-License-Identifier: Apache-2.0
"""`colonnade import octavia` with Keystone's credentials: ports in Neutron are closed, opened and
kept. Cloud and endpoints are asked over their wires; a real Octavia in `tests/openstack/`."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from colonnade.cli.nouns.index import NOUNS
from colonnade.cli.objects.names import Names
from colonnade.cli.objects.printing import Printer
from colonnade.cli.objects.session import Session
from colonnade.cli.octavia.cloud_rest import CloudRest
from colonnade.cli.octavia.source import Ports, Source
from colonnade.cli.rest import Query, Rest
from colonnade.domain.errors import Broken, ColonnadeError, Unreachable
from tests.cloud_site import CloudSite, cloud_site
from tests.contract.served import served
from tests.contract.test_network_driver import subnet_of
from tests.database import Databases
from tests.fakes.keystone import PASSWORD, USER


class World:
    def __init__(self, site: CloudSite, there: str, here: str) -> None:
        self.site, self.there, self.here = site, there, here
        self.ports = site.nova.neutron.ports

    async def port(self, **about: str) -> str:
        """One of the public network, as Octavia makes its own."""
        subnet = await subnet_of(self.site.networks, "public")
        body = {"fixed_ips": [{"subnet_id": subnet.id}], "network_id": subnet.network_id}
        url = f"{self.site.nova.neutron.url}/v2.0/ports"
        answer = await self.site.session.ask(
            "POST", url, body={"port": {**body, "device_owner": "Octavia"} | about}
        )
        return str(answer.within("port", dict[str, Any])["id"])

    async def made(self) -> tuple[str, str]:
        """A load balancer there, and its VIP's port."""
        port_id = await self.port()
        async with Rest(self.there) as rest:
            body = {"name": "web", "vip_port_id": port_id}
            root = await rest.post("lbaas/loadbalancers", {"loadbalancer": body})
        self.ports[port_id]["device_id"] = f"lb-{root['id']}"
        return root["id"], port_id

    async def run(self, *words: str, code: int = 0) -> Any:
        who = {"OS_AUTH_URL": self.site.nova.neutron.keystone.url, "OS_USERNAME": USER,
               "OS_PASSWORD": PASSWORD, "OS_PROJECT_NAME": "service"}  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "colonnade", "import", "octavia", *words,
            "--from", self.there, "--url", self.here, "--json",
            env=os.environ | who, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == code, (out.decode(), err.decode())
        assert PASSWORD not in f"{out!r}{err!r}"
        return json.loads(out) if out else err.decode()


@pytest.fixture(scope="module")
def endpoints(databases: Databases) -> Any:
    with (
        databases.fresh() as one, databases.fresh() as other,
        served(one) as there, served(other) as here,
    ):  # fmt: skip
        yield there, here


@pytest.fixture
async def world(endpoints: tuple[str, str]) -> AsyncIterator[World]:
    async with cloud_site() as site:
        yield World(site, *endpoints)


class Showing(CloudRest):
    """What that endpoint is, with amphorae, whose ports these are. `deleted`: how each port's
    owner was called as a load balancer was deleted there."""

    def __init__(self, world: World, ports: list[str | None]) -> None:
        super().__init__(world.there, world.site.session)
        self._shown = [{"vrrp_port_id": one} for one in ports]
        self._ports = world.ports
        self.deleted: dict[str, str] = {}
        self.is_cut = False

    async def _call(
        self, method: str, path: str, body: Any = None, query: Query | None = None
    ) -> Any:
        if path == "octavia/amphorae":
            return {"amphorae": self._shown}
        if method == "DELETE":
            self.deleted = {one: port["device_owner"] for one, port in self._ports.items()}
        answer = await super()._call(method, path, body, query)
        if method == "DELETE" and self.is_cut:
            raise Unreachable("the answer was lost")
        return answer


@asynccontextmanager
async def asking(world: World, *ports: str | None) -> AsyncIterator[tuple[Source, Showing]]:
    rest = Showing(world, list(ports))
    yield Source(Session(rest, Names(rest, NOUNS), Printer()), Ports(world.site.session)), rest


async def test_from_end_to_end_with_a_clouds_credentials(world: World) -> None:
    root_id, port_id = await world.made()
    (checked,) = await world.run("check", "web")
    assert (checked["id"], checked["verdict"]) == (root_id, "can be taken over")
    (taken,) = await world.run("take", "web")
    assert (taken["verdict"], taken["vip_port_id"]) == ("taken over", port_id)
    (undone,) = await world.run("undo", "web")
    assert undone["done"] == ["deleted here", "switched on there"]
    await world.run("take", "web")
    (finished,) = await world.run("finish", "web")
    assert finished["done"] == ["deleted there", f"port {port_id} kept"]
    port = world.ports[port_id]
    assert (port["device_owner"], port["device_id"]) == ("Octavia", f"lb-{root_id}")


async def test_the_ports_of_amphorae_are_closed_and_opened_again(world: World) -> None:
    root_id, vip = await world.made()
    one, other = await world.port(), await world.port()
    async with asking(world, one, None, other, str(uuid4())) as (source, _):
        shown = await source.find(root_id)
        assert shown is not None
        for _ in range(2):  # each may be repeated
            done = await source.release((await source.find(root_id)) or shown)
            assert done[-1] == "2 ports of its amphorae closed"
            assert [world.ports[p]["admin_state_up"] for p in (one, other)] == [False, False]
        assert "admin_state_up" not in world.ports[vip]
        for _ in range(2):
            done = await source.give_back(root_id)
            assert done[0] == "2 ports of its amphorae opened"
            assert [world.ports[p]["admin_state_up"] for p in (one, other)] == [True, True]
        after = await source.find(root_id)
        assert after is not None
        assert after | {"updated_at": None} == shown | {"updated_at": None}
        await source.session.rest.delete(f"lbaas/loadbalancers/{root_id}")


async def test_a_vips_port_has_no_owner_while_its_load_balancer_is_deleted(world: World) -> None:
    root_id, vip = await world.made()
    other = await world.port()
    async with asking(world) as (source, rest):
        rest.is_cut = True
        with pytest.raises(ColonnadeError, match="lost"):
            await source.forget(root_id, vip)
        assert (rest.deleted[vip], rest.deleted[other]) == ("", "Octavia")
        rest.is_cut = False
        assert await source.forget(root_id, vip) == [f"port {vip} kept"]
        assert world.ports[vip]["device_owner"] == "Octavia"
        # One that a user brought is left as it is.
        root_id, own = await world.made()
        world.ports[own] |= {"device_owner": "", "device_id": ""}
        assert await source.forget(root_id, own) == ["deleted there"]
        assert world.ports[own]["device_owner"] == ""
        with pytest.raises(Broken, match="there is no port"):
            await source.forget(root_id, str(uuid4()))

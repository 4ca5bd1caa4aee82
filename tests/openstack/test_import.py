# SPDX-License-Identifier: Apache-2.0
"""`colonnade import octavia` from a real Octavia, with the VIPs' ports in a real Neutron and all of
it asked with Keystone's tokens. What no worker and no controller does here is said in
`octavia.py` and in `settling`: the wishes are real, and nothing is served."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonnade.domain.ids import ClusterId
from colonnade.drivers.openstack.session import Session
from colonnade.store.fleet import clusters
from colonnade.store.postgres.database import Database
from tests.api_server import serving
from tests.beside import beside
from tests.identity_worlds import settings_of
from tests.openstack.keystone import ADMIN_PASSWORD, SERVICE_PASSWORD, Administrator, Cloud, unique
from tests.openstack.octavia import Octavia
from tests.openstack.operator import Networks

LOOK_S = 0.2


class World(msgspec.Struct, frozen=True):
    octavia: Octavia
    neutron: Networks
    admin: Session
    here: str
    project: str
    subnet: str
    environment: dict[str, str]

    async def run(self, *words: str, code: int = 0) -> Any:
        """What the command says, as an operator of the cloud types it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "colonnade", "import", "octavia", *words,
            "--from", self.octavia.url, "--url", self.here, "--json",
            env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == code, (out.decode(), err.decode())
        return json.loads(out)

    async def ask(self, method: str, url: str, body: Any = None, status: int = 200) -> Any:
        answer = await self.admin.ask(method, f"{url}", body=body)
        assert answer.status == status, (method, url, answer.status, answer.body)
        return json.loads(answer.body) if answer.body else None

    async def made(self, noun: str, one: str, status: int = 201, **about: Any) -> Any:
        url = f"{self.octavia.url}/v2/lbaas/{noun}"
        return (await self.ask("POST", url, {one: about}, status))[one]

    async def listed(self, url: str, noun: str) -> Any:
        """Of one endpoint, by id, without times and what is served."""
        own = ("created_at", "updated_at", "operating_status")
        found = (await self.ask("GET", f"{url}/v2/lbaas/{noun}"))[noun.rpartition("/")[2]]
        return {one["id"]: {n: v for n, v in one.items() if n not in own} for one in found}

    async def port(self, port_id: str) -> Any:
        return (await self.neutron.get(f"ports/{port_id}"))["port"]

    async def web(self) -> dict[str, str]:
        """A load balancer with one of everything. Ids by their nouns."""
        root = await self.made(
            "loadbalancers", "loadbalancer", name="web", vip_subnet_id=self.subnet,
            project_id=self.project, description="the shop", tags=["shop"],
        )  # fmt: skip
        pool = await self.made(
            "pools", "pool", name="app", loadbalancer_id=root["id"], protocol="HTTP",
            lb_algorithm="ROUND_ROBIN", session_persistence={"type": "SOURCE_IP"},
        )  # fmt: skip
        listener = await self.made(
            "listeners", "listener", name="front", loadbalancer_id=root["id"], protocol="HTTP",
            protocol_port=80, default_pool_id=pool["id"], allowed_cidrs=["10.0.0.0/8"],
            insert_headers={"X-Forwarded-For": "true"},
        )  # fmt: skip
        place = f"pools/{pool['id']}/members"
        members = [
            await self.made(place, "member", address=f"10.88.0.{n}", protocol_port=80, **more)
            for n, more in ((21, {"subnet_id": self.subnet}), (22, {"backup": True, "weight": 3}))
        ]
        monitor = await self.made(
            "healthmonitors", "healthmonitor", pool_id=pool["id"], type="HTTP", delay=5, timeout=3,
            max_retries=2, expected_codes="200-204",
        )  # fmt: skip
        policy = await self.made(
            "l7policies", "l7policy", listener_id=listener["id"], action="REDIRECT_TO_URL",
            redirect_url="https://example.test/", name="away",
        )  # fmt: skip
        rule = await self.made(
            f"l7policies/{policy['id']}/rules", "rule", type="PATH", compare_type="STARTS_WITH",
            value="/old",
        )  # fmt: skip
        return {
            "root": root["id"], "port": root["vip_port_id"], "pool": pool["id"],
            "listener": listener["id"], "member": members[0]["id"], "monitor": monitor["id"],
            "policy": policy["id"], "rule": rule["id"],
        }  # fmt: skip


@contextlib.asynccontextmanager
async def settling(database: Database) -> AsyncIterator[None]:
    """What controllers would write here: that it is served, or gone."""

    async def settle() -> None:
        while True:
            async with database.transaction() as connection:
                cursor = await connection.execute(
                    "SELECT id::text, generation FROM clusters WHERE highest_settled < generation"
                )
                for cluster_id, generation in await cursor.fetchall():
                    await clusters.settle(connection, ClusterId(cluster_id), generation)
            await asyncio.sleep(LOOK_S)

    async with beside(settle()):
        yield


@contextlib.asynccontextmanager
async def deleting(octavia: Octavia) -> AsyncIterator[None]:
    """What Octavia's worker would do with what is to be deleted."""

    async def delete() -> None:
        while True:
            for root_id in await asyncio.to_thread(octavia.pending):
                await asyncio.to_thread(octavia.delete, root_id)
            await asyncio.sleep(LOOK_S)

    async with beside(delete()):
        yield


class Clouds(msgspec.Struct, frozen=True):
    cloud: Cloud
    octavia: Octavia
    administrator: Administrator
    neutron: Networks


@pytest.fixture
def clouds(
    cloud: Cloud, octavia: Octavia, administrator: Administrator, neutron: Networks
) -> Clouds:
    return Clouds(cloud, octavia, administrator, neutron)


@pytest.fixture
async def world(
    clouds: Clouds, database: Database, database_url: str, tmp_path: Path
) -> AsyncIterator[World]:
    cloud, neutron, administrator = clouds.cloud, clouds.neutron, clouds.administrator
    _, (lb,) = await neutron.network("lb-mgmt", "198.18.0.0/24")
    _, (subnet,) = await neutron.network("shop", "10.88.0.0/24", shared=True)
    project = await administrator.project(unique("shop"))
    settings = settings_of(tmp_path, cloud.url, "lbaas", SERVICE_PASSWORD)
    told = {"auth_url": cloud.url, "username": "lbaas", "secret_file": str(settings.secret_file)}
    tables = {"neutron": {"lb_subnet": lb}, "nova": {"flavor": "none"}}
    who = {
        "OS_AUTH_URL": cloud.url, "OS_USERNAME": "admin", "OS_PASSWORD": ADMIN_PASSWORD,
        "OS_PROJECT_NAME": "admin", "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
    }  # fmt: skip
    api: dict[str, Any] = {"noop": False, "auth": "keystone", "keystone": told, "cloud": tables}
    async with serving(tmp_path, database_url, **api) as server, settling(database):
        admin = administrator.session
        here = f"http://127.0.0.1:{server.port}"
        environment = {**os.environ, **who}
        yield World(clouds.octavia, neutron, admin, here, project, subnet, environment)


async def test_a_load_balancer_comes_over_with_its_ids_and_its_port_and_goes_back(
    world: World,
) -> None:
    ids = await world.web()
    nouns = ("listeners", "pools", "healthmonitors", "l7policies", f"pools/{ids['pool']}/members")
    before = {noun: await world.listed(world.octavia.url, noun) for noun in nouns}
    root = (await world.listed(world.octavia.url, "loadbalancers"))[ids["root"]]
    vrrp = await world.neutron.post(
        "port", network_id=root["vip_network_id"], name="octavia-lb-vrrp-one",
        device_owner="Octavia", admin_state_up=True,
    )  # fmt: skip
    world.octavia.amphora(ids["root"], vrrp["id"])
    (checked,) = await world.run("check", ids["root"])
    assert checked["verdict"] == "can be taken over", checked
    assert [one for one in checked["findings"] if one["weight"] != "warns"] == []
    assert await world.listed(world.here, "loadbalancers") == {}

    (taken,) = await world.run("take", ids["root"])
    assert (taken["verdict"], taken["objects"]) == ("taken over", 8)
    assert taken["done"] == ["switched off there", "1 ports of its amphorae closed"]
    assert not (await world.port(vrrp["id"]))["admin_state_up"]
    here = (await world.listed(world.here, "loadbalancers"))[ids["root"]]
    for name in ("vip_address", "vip_port_id", "vip_subnet_id", "vip_network_id", "project_id",
                 "name", "description", "tags", "provider", "admin_state_up"):  # fmt: skip
        assert here[name] == root[name], name
    for noun in nouns:
        found = await world.listed(world.here, noun)
        assert {one: found[one].get("name") for one in found} == {
            one: before[noun][one].get("name") for one in before[noun]
        }
        for one in found:  # all that Octavia shows and we know is the same
            same = {n: v for n, v in before[noun][one].items() if n in found[one]}
            assert {n: found[one][n] for n in same} == same
    port = await world.port(ids["port"])
    assert (port["device_owner"], port["project_id"]) == ("Octavia", world.project)
    (again,) = await world.run("take", ids["root"])
    assert (again["verdict"], again["findings"]) == ("is here", [])

    (undone,) = await world.run("undo", ids["root"])
    assert undone["verdict"] == "given back"
    assert (await world.port(vrrp["id"]))["admin_state_up"]
    assert await world.listed(world.here, "loadbalancers") == {}
    assert (await world.listed(world.octavia.url, "loadbalancers"))[ids["root"]] == root
    assert await world.port(ids["port"])

    await world.run("take", ids["root"])
    async with deleting(world.octavia):
        (finished,) = await world.run("finish", ids["root"])
    assert finished["done"] == ["deleted there", f"port {ids['port']} kept"]
    port = await world.port(ids["port"])
    assert (port["device_owner"], port["device_id"]) == ("Octavia", f"lb-{ids['root']}")
    assert port["fixed_ips"][0]["ip_address"] == root["vip_address"]
    assert ids["root"] not in await world.listed(world.octavia.url, "loadbalancers")
    assert list(await world.listed(world.here, "loadbalancers")) == [ids["root"]]


async def test_octavia_deletes_the_port_with_its_load_balancer_where_nobody_prevents_it(
    world: World,
) -> None:
    """The reason for `finish`."""
    ids = await world.web()
    await world.ask(
        "DELETE", f"{world.octavia.url}/v2/lbaas/loadbalancers/{ids['root']}?cascade=true",
        status=204,
    )  # fmt: skip
    await asyncio.to_thread(world.octavia.delete, ids["root"])
    found = (await world.neutron.get("ports"))["ports"]
    assert ids["port"] not in [one["id"] for one in found]


async def test_what_a_real_one_has_and_we_cannot_serve_is_told(world: World) -> None:
    root = await world.made(
        "loadbalancers", "loadbalancer", name="names", vip_subnet_id=world.subnet,
        project_id=world.project, provider="amphorav2",
    )  # fmt: skip
    pool = await world.made(
        "pools", "pool", loadbalancer_id=root["id"], protocol="UDP", lb_algorithm="SOURCE_IP",
        session_persistence={"type": "SOURCE_IP", "persistence_timeout": 5,
                             "persistence_granularity": "255.255.0.0"},
    )  # fmt: skip
    await world.made(
        "listeners", "listener", loadbalancer_id=root["id"], protocol="UDP", protocol_port=53,
        default_pool_id=pool["id"],
    )  # fmt: skip
    await world.made(
        "healthmonitors", "healthmonitor", pool_id=pool["id"], type="UDP-CONNECT", delay=5,
        timeout=3, max_retries=2,
    )  # fmt: skip
    for verb in ("check", "take"):
        (looked,) = await world.run(verb, root["id"], code=1)
        assert looked["verdict"] == "blocked"
        told = [(one["weight"], one["attribute"]) for one in looked["findings"]]
        assert sorted(one for one in told if one[0] != "warns") == [
            ("blocks", "protocol"), ("blocks", "protocol"), ("blocks", "type"),
            ("differs", "provider"),
        ]  # fmt: skip
    there = (await world.listed(world.octavia.url, "loadbalancers"))[root["id"]]
    assert (there["admin_state_up"], there["tags"]) == (True, [])

# SPDX-License-Identifier: Apache-2.0
"""`colonnade admin openstack setup` in a real cloud: what it makes, that it makes it once, and that
the configuration it writes serves."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonnade.cli.local.cloud_checks import checks_of
from colonnade.domain.ids import PortId, new_id
from colonnade.drivers.network.neutron.driver import neutron_networks
from colonnade.drivers.network.protocol import PortWish
from colonnade.drivers.openstack.credentials import of_service
from colonnade.drivers.openstack.session import Session
from colonnade.runtime.config import Config, read_config
from tests.openstack.keystone import ADMIN_PASSWORD, REGION, Administrator, Cloud, unique
from tests.openstack.nova import Urls
from tests.openstack.operator import Networks
from tests.openstack.test_images import disk

HOST, URL = "of-a-test", "https://lb.example.org:9876"


class Place(msgspec.Struct, frozen=True):
    """Where the command is called, and the names of what it makes."""

    clouds: Path
    folder: Path
    name: str

    @property
    def secret_file(self) -> Path:
        return self.folder / "keystone-password"

    @property
    def output(self) -> Path:
        return self.folder / "cloud.toml"

    def words(self) -> list[str]:
        image = self.folder / "amphora.raw"
        image.write_bytes(disk())
        return [
            "--cloud", "admin", "--user", self.name, "--flavor", self.name, "--tag", self.name,
            "--lb-network", self.name, "--lb-cidr", "198.18.7.0/24", "--host", HOST, "--url", URL,
            "--secret-file", str(self.secret_file), "--output", str(self.output),
            "--image", str(image),
        ]  # fmt: skip

    async def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "colonnade", "admin", "openstack", "setup", *words]
        said = {n: v for n, v in os.environ.items() if not n.startswith("OS_")}
        said |= {"OS_CLIENT_CONFIG_FILE": str(self.clouds)}
        return await asyncio.to_thread(
            subprocess.run, argv, env=said, capture_output=True, text=True, check=False
        )

    async def outcome(self, *words: str) -> dict[str, Any]:
        done = await self.call(*self.words(), "--json", *words)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
async def place(
    cloud: Cloud, compute: Urls, administrator: Administrator, neutron: Networks, tmp_path: Path
) -> AsyncIterator[Place]:
    clouds = tmp_path / "clouds.yaml"
    who = {
        "auth_url": cloud.url, "username": "admin", "password": ADMIN_PASSWORD,
        "project_name": "admin", "user_domain_id": "default", "project_domain_id": "default",
    }  # fmt: skip
    clouds.write_text(json.dumps({"clouds": {"admin": {"region_name": REGION, "auth": who}}}))
    made = Place(clouds, tmp_path, unique("colonnade"))
    yield made
    session = administrator.session
    await session.ask("DELETE", f"{compute.compute}/flavors/{made.name}")
    images = f"{compute.image}/v2/images"
    for one in await _listed(session, f"{images}?tag={made.name}", "images"):
        await session.ask("DELETE", f"{images}/{one['id']}")
    for plural in ("users", "services"):
        query = f"name={made.name}" if plural == "users" else "type=load-balancer"
        for one in await _listed(session, f"{session.auth_url}/{plural}?{query}", plural):
            await session.ask("DELETE", f"{session.auth_url}/{plural}/{one['id']}")


async def _listed(session: Session, url: str, name: str) -> list[dict[str, Any]]:
    return (await session.ask("GET", url)).within(name, list[dict[str, Any]])


def _config(place: Place) -> Config:
    folders = {"state_dir": str(place.folder), "run_dir": str(place.folder), "database_url": ""}
    return read_config(place.output, folders)


async def test_a_dry_run_says_what_would_be_and_a_second_run_changes_nothing(
    place: Place, neutron: Networks
) -> None:
    pretended = await place.outcome("--dry-run")
    assert {line.split()[0] for line in pretended["done"]} == {"would", "there"}
    assert not place.secret_file.exists()
    assert not place.output.exists()
    names = [one["name"] for one in (await neutron.get("networks"))["networks"]]
    assert place.name not in names

    made = await place.outcome()
    said = [re.sub(r"^would (create|change)", r"\1d", line) for line in pretended["done"]]
    assert made["done"] == said
    assert made["changes"] == pretended["changes"]
    assert place.secret_file.stat().st_mode & 0o007 == 0
    secret = place.secret_file.read_text()
    assert secret.strip() not in json.dumps(made) + place.output.read_text()

    networks = await neutron.get("networks")
    for words in (("--dry-run",), ()):
        again = await place.outcome(*words)
        assert again["changes"] == 0
        assert {line.split()[0] for line in again["done"]} == {"there"}
        assert again["configuration"] == made["configuration"]
    assert place.secret_file.read_text() == secret
    assert await neutron.get("networks") == networks
    done = await place.call(*place.words())
    assert "nothing was changed" in done.stdout
    assert "ovs-vsctl" in done.stdout


async def test_what_it_writes_is_a_configuration_that_serves(
    place: Place, neutron: Networks
) -> None:
    made = await place.outcome()
    config = _config(place)
    found = {one.what: one async for one in checks_of(config)}
    assert {what for what, one in found.items() if one.cure} == {"LB network, from here"}
    assert "does not have the address" in found["LB network, from here"].found
    assert "lets heartbeats" in found["LB network, to here"].found

    # As the service, with what it has written: an amphora's port beside this machine's.
    session = Session(of_service(config.keystone), timeout_s=60.0)
    try:
        networks = neutron_networks(session, config.neutron.lb_subnet)
        wish = PortWish(id=PortId(new_id()), owner=f"amphora:{new_id()}", subnet_id=made["subnet"])
        port = await networks.create_port(wish)
        assert port.address != config.lb_network.address
        await networks.delete_port(port.id)
        # Heartbeats that are not let in any more are seen.
        for one in (await neutron.get("security-groups"))["security_groups"]:
            if one["name"] == "octavia-control-plane":
                for rule in one["security_group_rules"]:
                    url = f"{neutron.url}/security-group-rules/{rule['id']}"
                    await neutron.session.ask("DELETE", url)
        found = {one.what: one async for one in checks_of(config)}
        assert "let no heartbeats" in found["LB network, to here"].found
        mended = await place.outcome()
        (line,) = [one for one in mended["done"] if not one.startswith("there")]
        assert line.startswith("changed the security group octavia-control-plane")
        found = {one.what: one async for one in checks_of(config)}
        assert found["LB network, to here"].cure == ""
    finally:
        await session.close()


async def test_what_cannot_go_on_is_told_before_anything_is_made(
    place: Place, administrator: Administrator, neutron: Networks
) -> None:
    await administrator.user(place.name, "somebody-elses")
    done = await place.call(*place.words())
    assert done.returncode != 0
    assert f"there is a user {place.name} already" in done.stderr
    place.secret_file.write_text("another-word")
    place.secret_file.chmod(0o600)
    done = await place.call(*place.words())
    assert "cannot log in with the password" in done.stderr
    assert "another-word" not in done.stderr + done.stdout
    names = [one["name"] for one in (await neutron.get("networks"))["networks"]]
    assert place.name not in names
    place.secret_file.write_text("somebody-elses")
    without = [word for word in place.words() if not word.endswith("amphora.raw")]
    without.remove("--image")
    done = await place.call(*without)
    assert done.returncode == 1, done.stderr
    assert f"no active image with the tag '{place.name}'" in done.stdout

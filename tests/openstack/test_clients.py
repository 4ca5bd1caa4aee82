# SPDX-License-Identifier: Apache-2.0
"""The real clients against a real Keystone, with token and catalog as in any cloud: the API is a
process, `colonnade admin openstack register` wrote where it is, and clouds.yaml says who asks."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from tests.api_server import serving
from tests.e2e.test_octavia_client import (
    Client,
    check_catalogue,
    check_deletes,
    check_operators,
    check_tree,
    openstack,
    unused,
)
from tests.identity_worlds import settings_of
from tests.openstack.keystone import (
    ADMIN_PASSWORD,
    REGION,
    SERVICE_PASSWORD,
    Administrator,
    Cloud,
)  # fmt: skip

__all__ = ["openstack"]

PASSWORD = "sentinel-person-24e0"


class Site(msgspec.Struct, frozen=True):
    clouds: Path
    url: str


def _clouds(auth_url: str) -> str:
    def one(user: str, password: str, project: str) -> dict[str, object]:
        who = {"username": user, "password": password, "project_name": project}
        domains = {"user_domain_id": "default", "project_domain_id": "default"}
        return {"region_name": REGION, "auth": {"auth_url": auth_url} | who | domains}

    people = {
        "someone": one("someone", PASSWORD, "shop"),
        "admin": one("admin", ADMIN_PASSWORD, "admin"),
    }
    return json.dumps({"clouds": people})


def register(clouds: Path, url: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "colonnade", "admin", "openstack", "register", "--url", url,
         "--cloud", "admin", "--json"],
        env=os.environ | {"OS_CLIENT_CONFIG_FILE": str(clouds)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)["done"]
    return found


@pytest.fixture
async def site(
    cloud: Cloud, administrator: Administrator, database_url: str, tmp_path: Path
) -> AsyncIterator[Site]:
    person = await administrator.user("someone", PASSWORD)
    await administrator.grant(person, await administrator.project("shop"), "member")
    await administrator.project("p1")
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(_clouds(cloud.url))
    settings = settings_of(tmp_path, cloud.url, "lbaas", SERVICE_PASSWORD)
    told = {"auth_url": cloud.url, "username": "lbaas", "secret_file": str(settings.secret_file)}
    async with serving(tmp_path, database_url, auth="keystone", keystone=told) as server:
        url = f"http://127.0.0.1:{server.port}"
        first = await asyncio.to_thread(register, clouds, f"{url}/v2.0")
        assert [line.split()[0] in ("created", "changed") for line in first] == [True] * 3
        again = await asyncio.to_thread(register, clouds, url)
        assert [line.split()[0] for line in again] == ["there"] * 3
        # The client looks subnets up at the network service: this API knows those that it serves.
        await administrator.endpoint("network", url)
        yield Site(clouds, url)
    said = (tmp_path / "api.log").read_text()
    assert SERVICE_PASSWORD not in said
    assert "gAAAA" not in said  # how Keystone's tokens begin


async def test_every_command_of_the_openstack_client_does_its_work_with_keystone(
    openstack: Path, site: Site
) -> None:
    def use() -> None:
        member, admin = (
            Client(openstack, "--os-cloud", name, clouds=site.clouds)
            for name in ("someone", "admin")
        )
        try:
            check_tree(member, str(uuid4()))
            assert "Policy does not allow" in member.run("amphora list", code=1)
            check_operators(admin, served=False)
            check_deletes(member)
            check_catalogue(admin, "amphora")
        finally:
            member.close()
            admin.close()
        assert unused(openstack, [*member.given, *admin.given]) == set()

    await asyncio.to_thread(use)


async def test_all_of_the_sdks_proxy_does_its_work_with_clouds_yaml(
    openstack: Path, site: Site
) -> None:
    calls = Path(__file__).parents[1] / "e2e" / "sdk_calls.py"

    def use() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [openstack / "python", calls, "admin", str(uuid4())],
            env=os.environ | {"OS_CLIENT_CONFIG_FILE": str(site.clouds)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    done = await asyncio.to_thread(use)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [], "these were not used"

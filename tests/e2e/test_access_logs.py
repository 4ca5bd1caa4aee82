# SPDX-License-Identifier: Apache-2.0
"""A project's access log, from the request to the bucket, through the whole system.

The store is SeaweedFS on a host of the public network, which amphorae reach by their default
route and by nothing else; the control plane has no way to it.
"""

import asyncio
import gzip
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.drivers.logs.s3 import Bucket, presigned
from tests.log_servers import s3_command

ADDRESS = "203.0.113.201"
FETCH = (
    "import sys, urllib.request as u\n"
    "r = u.Request(sys.argv[2], method=sys.argv[1], data=b'' if sys.argv[1] == 'PUT' else None)\n"
    "sys.stdout.buffer.write(u.urlopen(r, timeout=5).read())"
)


async def test_a_projects_log_arrives_in_its_bucket_and_nobody_sees_the_key() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command, bucket = s3_command(Path(folder), ADDRESS)
        async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
            await hosts.add("store", "public", address=ADDRESS, argv=command)
            scenario = Scenario(rest, hosts, Figures())
            for step in (scenario.hosts, scenario.spare, scenario.create):
                await step()
            await until(lambda: fetched(hosts, bucket, "PUT", "/logs") is not None)
            target = await rest.post("lbaas/logtargets", {"logtarget": {
                "type": "S3", "url": bucket.url, "bucket": bucket.name, "region": bucket.region,
                "credentials": {"access_key": bucket.access_key, "secret_key": bucket.secret_key},
            }})  # fmt: skip
            root = scenario.load_balancer
            await rest.put(
                f"lbaas/loadbalancers/{root['id']}",
                {"loadbalancer": {"access_log": {"target_id": target["id"]}}},
            )
            url = f"http://{root['vip_address']}/from-a-client"
            found: dict[str, Any] = {}

            async def arrived() -> bool:
                ask(hosts, "GET", url)
                shown = await rest.get(f"lbaas/logtargets/{target['id']}")
                found.update(shown["logtarget"])
                return any(one["sent"] for one in found["shipping"])

            await until_so(arrived)
            (shipping,) = found["shipping"]
            assert (shipping["dropped"], shipping["failure"]) == (0, "")
            assert bucket.secret_key not in str(found)
            listing = fetched(hosts, bucket, "GET", "/logs?list-type=2")
            assert listing is not None
            key = listing.split(b"<Key>")[1].split(b"</Key>")[0].decode()
            assert key.startswith(f"{root['id']}/{shipping['listener_id']}/")
            body = fetched(hosts, bucket, "GET", f"/logs/{key}")
            assert body is not None
            lines = [json.loads(line) for line in gzip.decompress(body).splitlines()]
            assert "/from-a-client" in [line["uri"] for line in lines]
        assert system.left == []


def ask(hosts: Hosts, method: str, url: str) -> bytes | None:
    """From the client's host; None when that did not work."""
    command = [*hosts.enter("client"), "python3", "-c", FETCH, method, url]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def fetched(hosts: Hosts, bucket: Bucket, method: str, path: str) -> bytes | None:
    at = datetime.now(UTC)
    return ask(hosts, method, presigned(method, bucket, path, at=at, expires_s=60))


async def until(fact: Callable[[], bool]) -> None:
    async def so() -> bool:
        return await asyncio.to_thread(fact)

    await until_so(so)


async def until_so(fact: Callable[[], Any], within_s: float = 40.0) -> None:
    deadline = time.monotonic() + within_s
    while not await fact():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        await asyncio.sleep(0.2)

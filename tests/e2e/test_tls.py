# SPDX-License-Identifier: Apache-2.0
"""A certificate from its upload to a client's handshake, through the whole system, and a new one
in its place; the master key is exchanged while everything runs, and keys reach no log."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.drivers.network_daemon.daemon import KEPT
from colonnade.drivers.secrets.database import read_keys
from tests.certificates import Made, authority, made

CA = authority("Test CA")
NAME = "www.example.org"
CLIENT = """
import hashlib, json, socket, ssl, sys
context = ssl.create_default_context(cadata=sys.stdin.read())
with socket.create_connection((sys.argv[1], 443), 5) as plain:
    with context.wrap_socket(plain, server_hostname=sys.argv[2]) as secure:
        secure.sendall(b"GET / HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
        answer = b""
        while part := secure.recv(4096):
            answer += part
        shown = hashlib.sha256(secure.getpeercert(True)).hexdigest()
print(json.dumps({"status": answer.split()[1].decode(), "shown": shown}))
"""


def visit(hosts: Hosts, address: str) -> dict[str, str] | None:
    """A request from the client's host; None when the handshake or the request failed."""
    command = [*hosts.enter("client"), sys.executable, "-c", CLIENT, address, NAME]
    done = subprocess.run(command, input=CA.public, capture_output=True, text=True, check=False)
    found: dict[str, str] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return found


def pieces(*secrets: Made) -> list[str]:
    return [line[:24] for one in secrets for line in one.secret.splitlines()[1:-1]]


async def test_a_certificate_is_uploaded_served_and_replaced(tmp_path: Path) -> None:
    first, second = made(NAME, CA), made(NAME, CA)
    async with (
        running(state=tmp_path) as system,
        Rest(system.endpoint) as rest,
        Hosts(system.state) as hosts,
    ):
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        root = scenario.load_balancer
        secret = await rest.post("lbaas/secrets", {"secret": {"pem": first.pem}})
        body = {
            "loadbalancer_id": root["id"],
            "protocol": "TERMINATED_HTTPS",
            "protocol_port": 443,
            "default_pool_id": scenario.pool,
            "default_tls_container_ref": secret["secret_ref"],
        }
        listener = await rest.post("lbaas/listeners", {"listener": body})

        async def shows(one: str) -> bool:
            seen = await asyncio.to_thread(visit, hosts, root["vip_address"])
            return seen == {"status": "200", "shown": one}

        await until(lambda: shows(secret["fingerprint"]), within_s=15, what="the certificate")
        fresh = await rest.put(f"lbaas/secrets/{secret['id']}", {"secret": {"pem": second.pem}})
        renewed: Any = fresh["secret"]["fingerprint"]
        assert renewed != secret["fingerprint"]
        await until(lambda: shows(renewed), within_s=15, what="the certificate in its place")

        key_file = tmp_path / "pki" / "master.key"
        before = read_keys(key_file)
        rotated = await asyncio.create_subprocess_exec(
            *colonnade("master-key", "rotate", "--state", str(tmp_path), "--settled-s", "1")
        )
        assert await rotated.wait() == 0
        assert len(read_keys(key_file)) == 1
        assert read_keys(key_file) != before
        # The API and the controller that run seal and open with the new key.
        third = made(NAME, CA)
        other = await rest.post("lbaas/secrets", {"secret": {"pem": third.pem}})
        reference = {"listener": {"default_tls_container_ref": other["id"]}}
        await rest.put(f"lbaas/listeners/{listener['id']}", reference)
        await until(lambda: shows(other["fingerprint"]), within_s=15, what="the third certificate")
        await rest.delete(f"lbaas/secrets/{secret['id']}")

        logs = [*tmp_path.rglob("*.log"), *tmp_path.rglob("*.json")]
        kept = tmp_path / KEPT  # what amphorae come back with after a boot, with their keys
        assert kept.stat().st_mode & 0o077 == 0
        logs = [file for file in logs if file.parent != kept]
        assert logs
        for file in logs:
            text = file.read_text(errors="replace")
            assert not [one for one in pieces(first, second, third) if one in text], file
    assert system.left == []

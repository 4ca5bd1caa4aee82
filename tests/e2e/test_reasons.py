# SPDX-License-Identifier: Apache-2.0
"""A member in ERROR says why: each way in which a check can fail, on the real system, as its owner
reads it in the API, in the tree, in lists and in events."""

import asyncio
import sys
from typing import Any

from colonnade.cli.demo.scenario import PUBLIC
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.system import running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.untouched import settled

GREETS = """
import socket
server = socket.create_server(("", 80))
while True:
    connection, _ = server.accept()
    connection.recv(1000)
    connection.sendall(b"220 mail.example.org ESMTP\\r\\n")
    connection.close()
"""
SILENT = """
import socket, time
server = socket.create_server(("", 80))
kept = []
while True:
    kept.append(server.accept())
"""
# host -> what it runs, and what the owner reads
HTTP = {
    "fine": ([sys.executable, "-m", "http.server", "80"], ""),
    "refusing": ([], "the connection to {place} failed (Connection refused)"),
    # HAProxy waits for an answer that is one.
    "greeting": ([sys.executable, "-c", GREETS], "GET / was not answered within 1 s"),
    "silent": ([sys.executable, "-c", SILENT], "GET / was not answered within 1 s"),
}


async def _pool(rest: Rest, root: str, name: str, monitor: dict[str, Any]) -> str:
    listener = {"loadbalancer_id": root, "protocol": "HTTP", "name": name}
    listener["protocol_port"] = str(8000 + len(name))
    made: Any = await rest.post("lbaas/listeners", {"listener": listener})
    pool = {"listener_id": made["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    found: Any = await rest.post("lbaas/pools", {"pool": pool | {"name": name}})
    checks = {"delay": 1, "timeout": 1, "max_retries": 1, "max_retries_down": 1}
    body = {"pool_id": found["id"], "name": name} | checks | monitor
    await rest.post("lbaas/healthmonitors", {"healthmonitor": body})
    return str(found["id"])


async def _member(rest: Rest, pool: str, name: str, address: str) -> str:
    body = {"name": name, "address": address, "protocol_port": 80}
    made: Any = await rest.post(f"lbaas/pools/{pool}/members", {"member": body})
    return f"lbaas/pools/{pool}/members/{made['id']}"


async def test_a_member_in_error_says_why_wherever_its_owner_looks() -> None:
    async with running() as system, Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
        subnet = await hosts.subnet(PUBLIC)
        vip = {"name": "why", "vip_subnet_id": subnet}
        root = (await rest.post("lbaas/loadbalancers", {"loadbalancer": vip}))["id"]
        plain = await _pool(rest, root, "plain", {"type": "HTTP", "url_path": "/"})
        health = await _pool(rest, root, "path", {"type": "HTTP", "url_path": "/healthz"})
        secure = await _pool(rest, root, "tls", {"type": "HTTPS", "url_path": "/"})
        wanted: dict[str, str] = {}
        for name, (argv, reason) in HTTP.items():
            address = await hosts.add(name, "private", argv=argv)
            member = await _member(rest, plain, name, address)
            wanted[member] = reason.format(place=f"{address}:80")
            if name == "fine":
                wrong = "GET /healthz answered 404 File not found, expected 200"
                wanted[await _member(rest, health, name, address)] = wrong
                bad = f"the TLS handshake with {address}:80 failed"
                wanted[await _member(rest, secure, name, address)] = bad
        nobody = await _member(rest, plain, "nobody", "10.0.0.250")
        await settled(rest, root)

        async def told() -> dict[str, str]:
            found = {}
            for place in wanted:
                member = (await rest.get(place))["member"]
                if member["operating_status"] == "ERROR":
                    found[place] = member["operating_status_reason"]
            return found

        async def all_told() -> bool:
            found = await told()
            expected = {place: reason for place, reason in wanted.items() if reason}
            return found.keys() == expected.keys() and all(
                found[place].startswith(reason) for place, reason in expected.items()
            )

        await until(all_told, within_s=30, what="each member to say why it is in ERROR")

        async def lost() -> bool:
            reason = str((await rest.get(nobody))["member"]["operating_status_reason"])
            return "10.0.0.250:80" in reason and (
                "failed (No route" in reason or "within" in reason
            )

        await until(lost, within_s=15, what="a member that is nowhere to say so")
        pool = (await rest.get(f"lbaas/pools/{health}"))["pool"]
        assert pool["operating_status"] == "ERROR"
        assert any("GET /healthz answered 404" in i and "UTC" in i for i in pool["issues"])
        events: Any = (await rest.get(f"lbaas/loadbalancers/{root}/events?limit=1000"))["events"]
        assert any("GET /healthz answered 404" in e["message"] for e in events)
        shown = (await rest.get(f"lbaas/loadbalancers/{root}"))["loadbalancer"]
        assert shown["operating_status_reason"]
        for words in (
            ("lb", "tree", "why"),
            ("lb", "status", "why"),
            ("member", "list", "path"),
            ("lb", "events", "why"),
        ):
            said = await _said(system.endpoint, *words)
            assert "GET /healthz answered 404" in said, (words, said)
    assert system.left == []


async def _said(endpoint: str, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *colonnade(*words, "--url", endpoint),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode()

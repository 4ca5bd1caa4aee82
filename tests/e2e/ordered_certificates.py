# SPDX-License-Identifier: Apache-2.0
"""A program, run by test_ordered_certificates.py in a network namespace of its own, which plays the
host: an issuer and its name server are on loopback there, and reach VIPs by a route of the host.

It prints what was seen, step by step, and what was left behind.
"""

import asyncio
import contextlib
import hashlib
import json
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import folders, leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import Unavailable
from colonnade.runtime.config import read_config
from colonnade.store.postgres.database import Database
from colonnade.store.secrets import orders
from tests.issuer import Pebble, pebble

NAME, ALIAS, LOST = "shop.example.test", "www.shop.example.test", "lost.example.test"
WITHIN_S = 60.0


def visit(address: str, roots: str) -> dict[str, Any]:
    """A request over TLS, and the certificate that it met. The host's own view."""
    context = ssl.create_default_context(cadata=roots)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the issuer's root is not for the public
    with socket.create_connection((address, 443), 5) as plain:
        with context.wrap_socket(plain, server_hostname=NAME) as secure:
            secure.sendall(f"GET / HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
            answer = b""
            while part := secure.recv(4096):
                answer += part
            shown = secure.getpeercert(True) or b""
    status = answer.split()[1].decode()
    return {"status": status, "shown": hashlib.sha256(shown).hexdigest()}


class Run:
    def __init__(self, system: System, rest: Rest, issuer: Pebble) -> None:
        self.system, self.rest, self.issuer = system, rest, issuer

    async def secret(self, **said: Any) -> Any:
        return await self.rest.post("lbaas/secrets", {"secret": said})

    async def shown(self, secret: Any) -> Any:
        return (await self.rest.get(f"lbaas/secrets/{secret['id']}"))["secret"]

    async def has_status(self, secret: Any, status: str) -> Any:
        async def is_so() -> Any:
            found = await self.shown(secret)
            return found if found["order_status"] == status else None

        try:
            return await until(is_so, within_s=WITHIN_S, what=f"{secret['name']} to be {status}")
        except Unavailable as late:
            raise AssertionError(f"{late}: {await self.shown(secret)}") from late

    async def visited(self, address: str, secret: Any) -> str:
        """Until the host is shown this certificate. The status of the answer."""
        roots = await self.issuer.root()

        async def is_so() -> Any:
            with contextlib.suppress(OSError):
                seen = await asyncio.to_thread(visit, address, roots)
                return seen["status"] if seen["shown"] == secret["fingerprint"] else None
            return None

        return str(await until(is_so, within_s=WITHIN_S, what="the certificate to be served"))

    async def is_due(self, secret: Any) -> None:
        """As if two thirds of the certificate's life were over."""
        config = read_config(folders.config_file(self.system.state))
        database = await Database.when_there(config.database_url)
        try:
            async with database.transaction() as connection:
                await connection.execute(
                    "UPDATE secrets SET next_order_at = now() WHERE id = %s", [secret["id"]]
                )
                await orders.mark(connection, secret["id"])
        finally:
            await database.close()

    def haproxies(self) -> set[int]:
        """A reload starts another process."""
        found = leftovers.family(self.system.mark)
        return {pid for pid, words in found.items() if "haproxy" in Path(words.split()[0]).name}


async def main(folder: Path) -> None:
    seen: dict[str, Any] = {}
    async with pebble(folder) as issuer:
        state = folder / "state"
        state.mkdir()
        folders.config_file(state).write_text(
            f'[acme]\ndirectory = "{issuer.directory}"\nagree = true\n'
            f'contact = ["admin@example.test"]\nca_certificate = "{issuer.ca_file}"\n'
        )
        async with running("--host-route", state=state) as system:
            async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
                scenario = Scenario(rest, hosts, Figures())
                for step in (scenario.hosts, scenario.spare, scenario.create):
                    await step()
                await watch(Run(system, rest, issuer), scenario, seen)
        seen["left"] = system.left
    sys.stdout.write(json.dumps(seen))


async def watch(run: Run, scenario: Scenario, seen: dict[str, Any]) -> None:
    root = scenario.load_balancer
    address = root["vip_address"]
    await run.issuer.lead(NAME, address)
    await run.issuer.lead(ALIAS, address)
    (http,) = (await run.rest.get("lbaas/listeners"))["listeners"]
    # What sends everybody elsewhere lets the issuer in all the same.
    policy = {"listener_id": http["id"], "action": "REDIRECT_TO_URL"}
    policy |= {"redirect_url": "https://elsewhere.example.test/"}
    made = await run.rest.post("lbaas/l7policies", {"l7policy": policy})
    rule = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/"}
    await run.rest.post(f"lbaas/l7policies/{made['id']}/rules", {"rule": rule})
    shop = await run.secret(name="shop", host_names=[NAME, ALIAS])
    lost = await run.secret(name="lost", host_names=[LOST])
    seen["first"] = [shop["order_status"], shop["stand_in"], shop["issuer"]]
    body = {
        "loadbalancer_id": root["id"],
        "protocol": "TERMINATED_HTTPS",
        "protocol_port": 443,
        "default_pool_id": scenario.pool,
        "default_tls_container_ref": shop["id"],
        "sni_container_refs": [lost["id"]],
    }
    await run.rest.post("lbaas/listeners", {"listener": body})
    issued = await run.has_status(shop, "ISSUED")
    seen["issued"] = [issued["stand_in"], sorted(issued["subject_alt_names"]), issued["issuer"]]
    seen["status"] = await run.visited(address, issued)
    failing = await run.has_status(lost, "FAILING")
    seen["failing"] = [failing["stand_in"], failing["order_attempts"], failing["order_reason"]]
    whole = (await run.rest.get(f"lbaas/loadbalancers/{root['id']}"))["loadbalancer"]
    seen["issues"] = whole["issues"]

    async def is_quiet() -> bool:
        """Old workers have ended."""
        return len(run.haproxies()) <= 4

    await until(is_quiet, within_s=WITHIN_S, what="haproxy's old workers to end")
    before = run.haproxies()
    await run.is_due(shop)

    async def is_renewed() -> Any:
        found = await run.shown(shop)
        return found if found["fingerprint"] != issued["fingerprint"] else None

    renewed = await until(is_renewed, within_s=WITHIN_S, what="the renewal")
    seen["renewed"] = await run.visited(address, renewed)
    seen["same_haproxy"] = run.haproxies() == before


if __name__ == "__main__":
    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
    asyncio.run(main(Path(sys.argv[1])))

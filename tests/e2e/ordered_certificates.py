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

from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import folders, leftovers
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from colonnade.domain.errors import Unavailable
from colonnade.runtime.config import read_config
from colonnade.store.postgres.database import Database
from colonnade.store.secrets import orders
from tests.issuer import Pebble, pebble

# The names of the example, and one that leads nowhere.
NAME, ALIAS, PLAIN, LOST = (
    f"{word}.example.org" for word in ("shop", "www.shop", "status", "lost")
)
LED = (NAME, ALIAS, "blog.example.org")
EXAMPLE = Path(__file__).parents[2] / "examples" / "sites" / "shops.yaml"
VIP = "203.0.113.3"  # the first that is free, so that the names lead there before it is
WITHIN_S = 60.0


def visit(port: int, name: str, roots: str = "") -> dict[str, Any]:
    """What the host is answered, and the certificate that it was shown."""
    context = ssl.create_default_context(cadata=roots or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the issuer's root is not for the public
    shown = b""
    with contextlib.ExitStack() as stack:
        link: socket.socket = stack.enter_context(socket.create_connection((VIP, port), 5))
        if roots:
            secure = stack.enter_context(context.wrap_socket(link, server_hostname=name))
            shown, link = secure.getpeercert(True) or b"", secure
        link.sendall(f"GET /a HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
        answer = b""
        while part := link.recv(4096):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    (location,) = [line for line in head.split(b"\r\n") if line.startswith(b"location: ")] or [b""]
    return {
        "status": head.split()[1].decode(),
        "body": body.decode().strip(),
        "location": location.decode().removeprefix("location: "),
        "shown": hashlib.sha256(shown).hexdigest(),
    }


class Run:
    def __init__(self, system: System, rest: Rest, issuer: Pebble) -> None:
        self.system, self.rest, self.issuer = system, rest, issuer

    async def serve(self, file: Path) -> tuple[int | None, Any]:
        words = ("serve", str(file), "--within", "30", "--json", "--url", self.system.endpoint)
        process = await asyncio.create_subprocess_exec(
            *colonnade(*words), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        return process.returncode, json.loads(said)

    async def secret(self, name: str) -> Any:
        found = await self.rest.get("lbaas/secrets", {"name": name})
        return found["secrets"][0]

    async def visited(self, secret: Any) -> Any:
        """Until the host is shown this certificate. What it was answered."""
        roots, met = await self.issuer.root(), [""]

        async def is_so() -> Any:
            try:
                seen = await asyncio.to_thread(visit, 443, NAME, roots)
            except OSError as error:
                met.append(str(error))
                return None
            met.append(str(seen))
            return seen if seen.pop("shown") == secret["fingerprint"] else None

        try:
            return await until(is_so, within_s=WITHIN_S, what="the certificate to be served")
        except Unavailable as late:
            raise AssertionError(f"{late}; met: {met[-1]}") from late

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
        for name in LED:
            await issuer.lead(name, VIP)
        async with running("--host-route", state=state) as system:
            async with Rest(system.endpoint) as rest, Hosts(system.state) as hosts:
                for number in (1, 2):
                    await hosts.web_server(f"web{number}", f"10.0.0.1{number}")
                file = folder / "sites.yaml"
                file.write_text(f"{EXAMPLE.read_text()}{LOST}: 10.0.0.12:80\n")
                await watch(Run(system, rest, issuer), file, seen)
        seen["left"] = system.left
    sys.stdout.write(json.dumps(seen))


async def watch(run: Run, file: Path, seen: dict[str, Any]) -> None:
    seen["code"], seen["served"] = await run.serve(file)
    issued = await run.secret(NAME)
    seen["issued"] = [issued["stand_in"], sorted(issued["subject_alt_names"]), issued["issuer"]]
    seen["over_tls"] = await run.visited(issued)
    for word, name in (("redirected", ALIAS), ("plain", PLAIN), ("unknown", "x.example.org")):
        seen[word] = await asyncio.to_thread(visit, 80, name)
    before = run.haproxies()
    await run.is_due(issued)

    async def is_renewed() -> Any:
        found = await run.secret(NAME)
        return found if found["fingerprint"] != issued["fingerprint"] else None

    renewed = await until(is_renewed, within_s=WITHIN_S, what="the renewal")
    seen["renewed"] = await run.visited(renewed)
    seen["same_haproxy"] = run.haproxies() == before
    file.write_text("".join(line for line in file.open() if LOST not in line))
    seen["code_again"], seen["again"] = await run.serve(file)
    (root,) = (await run.rest.get("lbaas/loadbalancers"))["loadbalancers"]
    seen["issues"] = root["issues"]


if __name__ == "__main__":
    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
    asyncio.run(main(Path(sys.argv[1])))

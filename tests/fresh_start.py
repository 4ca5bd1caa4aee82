# SPDX-License-Identifier: Apache-2.0
"""A program for namespaces of its own: after random changes haproxy is as if started afresh.

Each argument is a seed. It decides a series of bundles, some applied by agents that start in
between; then the running haproxy is asked for its servers and backends, and so is one that is
started on the file that is left, and both show the certificates that they hold. Prints one JSON
object a seed, with both answers. A server in
maintenance is that, whether the file or a command said so; operational states, which checks
decide, are not compared.
"""

import asyncio
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence

from msgspec.structs import replace

from colonnade.agent.haproxy.console import Console, Silent
from colonnade.protocol import paths
from colonnade.protocol.bundle import Backend, Bundle, Secret, Server
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.certificates import made
from tests.dying_agent import ROOT, in_a_process, resumed

CHANGES = 12
SETTLES_S_MAX = 5.0  # a server that left is deleted when it is idle, tried every second
ADDRESSES = ("127.0.0.1:8001", "127.0.0.1:8002", "[::1]:8001", "[2001:db8::9]:80")
OPTIONS = ("", "check inter 9s", "check inter 9s rise 2 fall 3 backup", "send-proxy-v2")
# haproxy's srv_admin_state: forced, inherited, without an address. Whether a file once said
# `disabled` (4) is only remembered there.
MAINTENANCE = 0x01 | 0x02 | 0x20
MEANS = ROOT / "means"
CERTIFICATES = tuple(made(f"www{number}.test").pem for number in range(3))
TEXT = f"""global
  stats socket {paths.HAPROXY_SOCKET} mode 600 level admin expose-fd listeners
  server-state-file {paths.SERVER_STATE}
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 1s
  load-server-state-from-file global
frontend web
  bind 127.0.0.1:80
  bind 127.0.0.1:443 ssl crt {paths.SECRETS}/web.pem
  maxconn %d
  http-request return status 200 content-type text/plain file {paths.FILES}/page if FALSE
  default_backend x
"""
Facts = dict[str, list[list[str]]]
Pools = dict[str, tuple[Server, ...]]


class Wishes:
    """Random bundles, each often like the one before but for a few servers, as changes are."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._generation = 0
        self._shape = (1, "page")
        self._pools: Pools = {"x": ()}
        self._certificate = 0

    def next(self) -> Bundle:
        chance = self.chance
        if chance.random() < 0.3:
            self._shape = (chance.randint(1, 3), chance.choice(["page", "other page"]))
            more = chance.sample(["y", "z"], chance.randint(0, 2))
            self._pools = {name: self._pools.get(name, ()) for name in ("x", *sorted(more))}
        if chance.random() < 0.4:
            self._certificate = chance.randrange(len(CERTIFICATES))
        self._pools = {name: self._changed(servers) for name, servers in self._pools.items()}
        self._generation += 1
        return self._bundle()

    def _changed(self, servers: tuple[Server, ...]) -> tuple[Server, ...]:
        chance = self.chance
        found = {one.name: one for one in servers}
        for name in chance.sample("abcd", chance.randint(0, 2)):
            old = found.pop(name, None)
            if old is not None and chance.random() < 0.5:
                found[name] = replace(
                    old, weight=chance.choice([0, 1, 256]), enabled=chance.random() < 0.7
                )
            elif old is None or chance.random() < 0.5:
                found[name] = Server(
                    name=name,
                    address=chance.choice(ADDRESSES),
                    weight=chance.randint(0, 3),
                    enabled=chance.random() < 0.7,
                    options=f"id {ord(name)} {chance.choice(OPTIONS)}".strip(),
                )
        return tuple(found[name] for name in sorted(found))

    def _bundle(self) -> Bundle:
        limit, page = self._shape
        frame = text = TEXT % limit
        for name, servers in self._pools.items():
            frame += f"backend {name}\n"
            text += f"backend {name}\n"
            for s in servers:
                state = "" if s.enabled else " disabled"
                text += f"  server {s.name} {s.address} weight {s.weight} {s.options}{state}\n"
        return Bundle(
            generation=self._generation,
            config=text,
            frame=frame,
            backends=tuple(Backend(name=name, servers=s) for name, s in self._pools.items()),
            files={"page": page},
            secrets={"web.pem": Secret(CERTIFICATES[self._certificate], in_place=True)},
        )


async def asked(console: Console, worker: str) -> Facts:
    state = (await console.ask("show servers state", worker=worker)).splitlines()
    servers = []
    for line in state[2:]:
        found = dict(zip(state[1].removeprefix("# ").split(), line.split(), strict=False))
        in_maintenance = bool(int(found["srv_admin_state"]) & MAINTENANCE)
        names = ("be_name", "srv_name", "srv_id", "srv_addr", "srv_port", "srv_uweight")
        servers.append([*(found[name] for name in names), str(in_maintenance)])
    backends = (await console.ask("show backend", worker=worker)).splitlines()[1:]
    shown = await console.ask(f"show ssl cert {paths.SECRETS}/web.pem", worker=worker)
    certificate = [line for line in shown.splitlines() if line.startswith(("Serial", "SHA1"))]
    return {
        "servers": sorted(servers),
        "backends": sorted([name] for name in backends),
        "certificates": [certificate],
    }


async def asked_of_a_fresh_one(config: str) -> Facts:
    """Beside the one that runs, in a network namespace of its own: the ports are taken here."""
    folder = ROOT.parent / "fresh"
    folder.mkdir(exist_ok=True)
    file, socket = folder / "haproxy.cfg", folder / "master.sock"
    text = config.replace(paths.HAPROXY_SOCKET, str(folder / "haproxy.sock"))
    file.write_text(text.replace(paths.SERVER_STATE, str(folder / "none.state")))
    command = ("unshare", "--net", find_haproxy(""), "-W", "-S", str(socket), "-f", str(file))
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    try:
        console = Console(socket)
        deadline = asyncio.get_running_loop().time() + SETTLES_S_MAX
        while True:
            try:
                return await asked(console, "@1")
            except (Silent, IndexError):
                assert asyncio.get_running_loop().time() < deadline, "it does not start"
            await asyncio.sleep(0.01)
    finally:
        process.terminate()
        await process.wait()


async def applied(wishes: Sequence[Bundle]) -> None:
    """One life of an agent. What haproxy was told goes into a file, for the next one to add to."""
    one = await resumed()
    with MEANS.open("a") as means:
        for wish in wishes:
            means.write(f"{(await one.apply(wish)).means} ")
    await one.close()


async def compared(config: str) -> None:
    one = await resumed()  # servers that left wait to be deleted by somebody
    fresh = await asked_of_a_fresh_one(config)
    deadline = asyncio.get_running_loop().time() + SETTLES_S_MAX
    while (running := await asked(Console(ROOT / "master.sock"), "@1")) != fresh:
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.05)
    found = {"means": MEANS.read_text().split(), "running": running, "fresh": fresh}
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()
    await one.apply(Bundle(generation=one.generation + 1, config="", frame=""))
    await one.close()


def lives(wishes: Wishes) -> list[list[Bundle]]:
    found: list[list[Bundle]] = [[]]
    for _ in range(CHANGES):
        if wishes.chance.random() < 0.2:
            found.append([])
        found[-1].append(wishes.next())
    return [life for life in found if life]


def main(seeds: Sequence[str]) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    for seed in seeds:
        ROOT.mkdir(mode=0o700)
        series = lives(Wishes(int(seed)))
        for life in series:
            assert in_a_process(lambda life=life: applied(life)) == 0  # type: ignore[misc]
        config = series[-1][-1].config
        assert in_a_process(lambda config=config: compared(config)) == 0  # type: ignore[misc]
        shutil.rmtree(ROOT)


if __name__ == "__main__":
    main(sys.argv[1:])

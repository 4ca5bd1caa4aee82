# SPDX-License-Identifier: Apache-2.0
"""A program for namespaces of its own: apply changes in processes that are killed at every step.

A step is anything that the agent's code does to the world: open a file to write, rename, link or
remove one, start a process, speak to haproxy. Python tells of each beforehand (audit events), and
the process then kills itself before its n-th one, for every n until a change gets through. After
each death a new process resumes; what then is served is compared with what an undisturbed one
serves. Prints one JSON object a change; `haproxy`, files and packet filter are the real ones.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from colonnade.agent.apply.amphora import Amphora
from colonnade.agent.apply.vips import Vips
from colonnade.agent.bgp.process import Bird
from colonnade.agent.bgp.speaker import Speaker
from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.reloads import Limits
from colonnade.agent.haproxy.status import Watch
from colonnade.agent.keepalived.half import Half
from colonnade.agent.keepalived.process import Keepalived
from colonnade.agent.programs import run
from colonnade.protocol import paths
from colonnade.protocol.bundle import Access, Backend, Bundle, Secret, Server
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.environments import NFT

HERE = Path("/proc/self/ns/net")
ROOT = Path(paths.ROOT)
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
  maxconn %d
  http-request return status 200 content-type text/plain file {paths.FILES}/page if TRUE
  default_backend pool
backend pool
"""
STEPS = ("os.rename", "os.remove", "os.link", "os.truncate", "subprocess.Popen", "socket.connect")
SECONDS_MAX = 20.0
REPORT, KNOWN = ROOT.parent / "report.json", ROOT.parent / "known.json"


def made(number: int, weights: dict[str, int], page: str, allowed: str) -> Bundle:
    servers = tuple(
        Server(name=name, address=f"127.0.0.1:{8000 + weight}", weight=weight)
        for name, weight in weights.items()
    )
    frame = TEXT % number
    lines = [f"  server {s.name} {s.address} weight {s.weight}\n" for s in servers]
    return Bundle(
        generation=0,
        config=frame + "".join(lines),
        frame=frame,
        backends=(Backend(name="pool", servers=servers),),
        files={"page": page, f"page{number}": page},
        secrets={"key": Secret(pem=page), f"key{number}": Secret(pem=page)},
        access=(Access(address="127.0.0.1", port=80, allowed=(allowed,)),),
    )


BEFORE = made(100, {"a": 1, "b": 2, "c": 3}, "before", "127.0.0.0/8")
CHANGES = {
    "runtime": replace(
        made(100, {"b": 5, "c": 3, "d": 4, "e": 6}, "before", "127.0.0.0/8"), files=BEFORE.files
    ),
    "reload": made(200, {"a": 1, "d": 9}, "after", "127.0.0.1/32"),
    "stop": Bundle(generation=0, config="", frame=""),
}


def amphora() -> Amphora:
    folder = Folder(ROOT)
    haproxy = Haproxy(find_haproxy(""), folder, HERE)
    watch = Watch(folder, haproxy)
    half = Half(haproxy, Keepalived("keepalived", folder, HERE))
    vips = Vips(half, Speaker(haproxy, Bird("bird", folder, HERE)))
    return Amphora(folder, haproxy, watch, vips, Limits(pause_s=0.0, memory_reserve_mib=0))


async def resumed() -> Amphora:
    found = amphora()
    await found.resume()
    return found


async def applied(wanted: Bundle) -> None:
    one = await resumed()
    await one.apply(wanted)
    await one.close()


async def applied_until(wanted: Bundle, step: int) -> None:
    one = await resumed()
    left = step

    def before_a_step(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if event in STEPS or (writes and str(arguments[0]).startswith(str(ROOT))):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(before_a_step)
    await one.apply(wanted)


async def told(report: Path) -> None:
    """What is served once a new agent has resumed, when it is settled."""
    one = await resumed()
    known = json.loads(KNOWN.read_text())
    deadline = asyncio.get_running_loop().time() + 3.0
    while (facts := await seen(one)) not in known.values():
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.02)
    report.write_text(json.dumps(facts))
    await one.close()


async def seen(one: Amphora) -> dict[str, Any]:
    haproxy = Haproxy(find_haproxy(""), Folder(ROOT), HERE)
    running = haproxy.adopt()
    servers, limit = [], ""
    if running:
        lines = (await haproxy.console.ask("show servers state")).splitlines()[2:]
        for fields in (line.split() for line in lines):
            # Name, address, port, weight, and whether it is in maintenance.
            place = [fields[3], fields[4], fields[18], fields[7]]
            servers.append([*place, fields[6] != "0"])
        stat = (await haproxy.console.ask("show stat -1 1 -1")).splitlines()[1]
        limit = stat.split(",")[6]
    _, rules = await run(NFT or "nft", "list", "ruleset", within_s=5.0)
    return {
        "config": one.present.config if one.present is not None else "",
        "file": (ROOT / "haproxy.cfg").read_text(),
        "files": {path.name: path.read_text() for path in sorted((ROOT / "files").iterdir())},
        "secrets": {path.name: path.read_text() for path in sorted((ROOT / "secrets").iterdir())},
        "left over": sorted(
            path.name for path in ROOT.iterdir() if path.name in LEFT_OVER or "new" in path.suffix
        ),
        "running": running,
        "limit": limit,
        "servers": sorted(servers),
        "rules": rules,
    }


LEFT_OVER = ("wanted.json", "candidate.cfg", "previous.cfg")


def in_a_process(work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Its exit code; negative when a signal ended it."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_bounded(work()))
        except BaseException as error:  # noqa: BLE001 - a forked child must not go on as its parent
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def _bounded(work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        await work


def facts_of(report: Path) -> Any:
    assert in_a_process(lambda: told(report)) == 0
    return json.loads(report.read_text())


def killed_at_each_step(
    before: Callable[[], Bundle], after: Callable[[], Bundle], expected: dict[str, Any]
) -> list[Any]:
    """For each step: "before" or "after", or what else is served then."""
    ends: list[Any] = []
    code = -signal.SIGKILL
    while code != 0:
        if not ends or ends[-1] != "before":
            assert in_a_process(lambda: applied(before())) == 0
        code = in_a_process(lambda: applied_until(after(), len(ends) + 1))
        assert code in (0, -signal.SIGKILL)
        found = facts_of(REPORT)
        ends.append(next((side for side in expected if expected[side] == found), found))
    return ends


def main() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    ROOT.mkdir(mode=0o700)
    generation = 0

    def at(bundle: Bundle) -> Bundle:
        nonlocal generation
        generation += 1
        return replace(bundle, generation=generation)

    for name, after in CHANGES.items():
        expected = {}
        for side, bundle in (("before", BEFORE), ("after", after)):
            # Through nothing, so that each is what a fresh start makes of it.
            for one in (at(CHANGES["stop"]), at(bundle)):
                assert in_a_process(lambda one=one: applied(one)) == 0  # type: ignore[misc]
            KNOWN.write_text("{}")
            expected[side] = facts_of(REPORT)
        KNOWN.write_text(json.dumps(expected))
        ends = killed_at_each_step(lambda: at(BEFORE), lambda after=after: at(after), expected)  # type: ignore[misc]
        told_so = json.dumps({"change": name, "ends": ends, "expected": expected})
        sys.stdout.write(f"{told_so}\n")


if __name__ == "__main__":
    main()

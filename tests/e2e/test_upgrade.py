# SPDX-License-Identifier: Apache-2.0
"""All amphorae of several load balancers are replaced under load: real processes and packets.

A client sends requests through each VIP from before the first replacement until after the last, and
none fails. The upgrade is paused and resumed on the way, and stops itself when a replacement cannot
be made. With `-s` the longest gap is told.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import colonnade
from colonnade.cli.demo.operator_calls import allocated
from colonnade.cli.demo.scenario import PUBLIC, Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.lab.visits import Visits
from colonnade.cli.local import leftovers
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.environments import needs_nft
from tests.frozen import frozen
from tests.untouched import settled

pytestmark = needs_nft  # what drains an amphora before another has its VIP

RATE = 25.0  # requests a second, to each VIP
ANSWER_S_MAX = 20.0  # a SYN that nobody answers is repeated after 1, 3, 7 s
PACE = {"canary_s": 1, "watch_s": 0.5, "at_once": 2}
UPGRADES = "octavia/upgrades"
REPLACED_S_MAX = 90.0
GO_BETWEENS = ("sh", "unshare", "setpriv", "nsenter")


async def test_no_request_fails_while_all_amphorae_are_replaced() -> None:
    async with (
        running("--spares", "2") as system,
        Rest(system.endpoint) as rest,
        Hosts(system.state) as hosts,
    ):
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create):
            await step()
        roots = [scenario.load_balancer, *[await _another(scenario, n) for n in (2, 3)]]
        await settled(rest, *(root["id"] for root in roots))
        before = await _serving(rest, roots)
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(_client(scenario, r)) for r in roots]
            for client in clients:
                await client.first_ok(since=0.0)
            await _paused_and_resumed(rest, roots, before)
            await _stopped_and_undone(system, rest, roots)
            for client in clients:
                await client.first_ok(since=time.time())
        failed = [visit for client in clients for visit in client.failed()]
        assert failed == [], f"{len(failed)} of {sum(len(c.all) for c in clients)}"
        print(f"longest gap {max(one.longest_gap() for one in clients):.2f} s")  # noqa: T201 - with -s
    assert system.left == []


async def _another(scenario: Scenario, number: int) -> Any:
    """A load balancer with the first web server behind it."""
    vip = {"name": f"more{number}", "vip_subnet_id": await scenario.lab.subnet(PUBLIC)}
    pool = {"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    pool["members"] = [{"address": scenario.addresses["web1"], "protocol_port": 80}]  # type: ignore[assignment]
    listener = {"protocol": "HTTP", "protocol_port": 80, "default_pool": pool}
    return await scenario.rest.post(
        "lbaas/loadbalancers", {"loadbalancer": vip | {"listeners": [listener]}}
    )


def _client(scenario: Scenario, root: Any) -> Visits:
    return Visits(
        scenario.lab.enter(scenario.client),
        f"http://{root['vip_address']}/",
        rate=RATE,
        within_s=ANSWER_S_MAX,
    )


async def _serving(rest: Rest, roots: Sequence[Any]) -> dict[str, str]:
    """By load balancer; what they tell of themselves is what runs here."""
    found = {}
    for root in roots:
        (amphora,) = await allocated(rest, root["id"])
        assert amphora["outdated"] is None
        assert amphora["agent_version"] == colonnade.__version__
        found[root["id"]] = amphora["id"]
    return found


async def _paused_and_resumed(rest: Rest, roots: Sequence[Any], before: dict[str, str]) -> None:
    asked = await rest.post(UPGRADES, {"upgrade": {"all": True, **PACE}})
    await _has(rest, asked, "WATCHED", "DONE")
    await rest.put(f"{UPGRADES}/{asked['id']}/pause")
    await _has(rest, asked, "DONE")
    now = await _serving(rest, roots)
    assert sum(now[name] != before[name] for name in before) == 1, "the canary alone"
    await rest.put(f"{UPGRADES}/{asked['id']}/resume")
    found = await _ended(rest, asked)
    assert (found["state"], found["progress"]) == ("DONE", "3 of 3 replaced"), found
    now = await _serving(rest, roots)
    assert all(now[name] != before[name] for name in before)


async def _stopped_and_undone(system: System, rest: Rest, roots: Sequence[Any]) -> None:
    """While the network daemon stands still no port can be moved. What was begun is finished."""
    before = await _serving(rest, roots)
    with frozen(_daemons(system)):
        asked = await rest.post(UPGRADES, {"upgrade": {"all": True, **PACE, "step_s": 5}})
        found = await _ended(rest, asked)
        assert (found["state"], found["progress"]) == (
            "STOPPED",
            "0 of 3 replaced, 2 to come, 1 failed",
        ), found
    canary = found["steps"][0]
    undone = (await rest.put(f"{UPGRADES}/{asked['id']}/undo"))["upgrade"]
    assert (undone["id"], undone["state"]) == (asked["id"], "CANCELLED")
    await settled(rest, *(root["id"] for root in roots))
    now = await _serving(rest, roots)
    assert [name for name in before if now[name] != before[name]] == [canary["loadbalancer_id"]]


def _daemons(system: System) -> list[int]:
    found = []
    for pid in leftovers.marked(system.mark):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            is_it = "-m\0colonnade\0network\0" in "\0".join(words)
            if is_it and Path(words[0]).name not in GO_BETWEENS:
                found.append(pid)
    assert found, "no network daemon runs"
    return found


async def _has(rest: Rest, asked: Any, *states: str) -> None:
    async def first() -> bool:
        found = (await rest.get(f"{UPGRADES}/{asked['id']}"))["upgrade"]
        return found["steps"][0]["state"] in states

    await until(first, within_s=REPLACED_S_MAX, what=f"the canary to be {states}", pause_s=0.1)


async def _ended(rest: Rest, asked: Any) -> Any:
    async def ended() -> Any:
        found = (await rest.get(f"{UPGRADES}/{asked['id']}"))["upgrade"]
        return None if found["state"] == "RUNNING" else found

    return await until(ended, within_s=REPLACED_S_MAX, what="the upgrade's end", pause_s=0.2)

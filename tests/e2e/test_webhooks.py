# SPDX-License-Identifier: Apache-2.0
"""A member stops, and whoever wants to hear of it does, though the notifier is killed meanwhile."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from colonnade.cli.demo.scenario import Figures, Scenario
from colonnade.cli.lab.hosts import Hosts
from colonnade.cli.local import folders, leftovers
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.system import System, running
from colonnade.cli.rest import Rest
from colonnade.cli.waiting import until
from tests.hook_receiver import KEY, SECRET, Receiver, receiving

WITHIN_S = 60.0  # a lease of the one that was killed must end first
TOLD = "kind=operating_status,failed,applied&limit=1000"


async def test_a_stopped_member_is_told_and_a_killed_notifier_loses_nothing(tmp_path: Path) -> None:
    folders.config_file(tmp_path).write_text('[webhooks]\nallowed = ["127.0.0.0/8"]\n')
    async with (
        receiving() as receiver,
        running("--spares", "1", state=tmp_path) as system,
        Rest(system.endpoint) as rest,
        Hosts(system.state) as hosts,
    ):
        kinds = TOLD.partition("&")[0].removeprefix("kind=").split(",")
        body = {"name": "pager", "url": receiver.url, "secret": SECRET, "kinds": kinds}
        await rest.post("lbaas/webhooks", {"webhook": body})
        said = await _asked(system, "webhook", "test", "pager")
        assert "took it: 204" in said
        assert receiver.received.pop().body["type"] == "ping"
        scenario = Scenario(rest, hosts, Figures())
        for step in (scenario.hosts, scenario.spare, scenario.create, scenario.spread):
            await step()

        async def all_told() -> bool:
            return await _known(rest) == sorted(set(receiver.events))

        await until(all_told, within_s=WITHIN_S, what="all that happened so far to be told")
        receiver.may_answer.clear()
        told = len(receiver.received)
        await scenario.server_down()

        async def is_on_its_way() -> bool:
            return len(receiver.received) > told

        await until(is_on_its_way, within_s=WITHIN_S, what="the first message about it")
        os.kill(_notifier(system), signal.SIGKILL)
        await scenario.server_up()
        receiver.may_answer.set()
        await until(all_told, within_s=WITHIN_S, what="all that happened to be told")
        _in_order(receiver)
        changes = {(one["object_type"], one["operating_status"]) for one in _all(receiver)}
        assert changes >= {("member", "ERROR"), ("member", "ONLINE")}
        down = [one for one in _all(receiver) if one["operating_status"] == "ERROR"]
        assert down[0]["object_name"] == "web2", down
    assert system.left == []


def _all(receiver: Receiver) -> list[Any]:
    return [event for message in receiver.received for event in message.events]


def _in_order(receiver: Receiver) -> None:
    """A message that was not taken came again; none came before one that should be first."""
    assert all(message.is_signed_with(KEY) for message in receiver.received)
    first = {event: place for place, event in reversed([*enumerate(receiver.events)])}
    assert sorted(first) == sorted(first, key=lambda event: first[event])
    assert len(first) < len(receiver.events), "what the killed one had sent came again"


async def _known(rest: Rest) -> list[int]:
    found: Any = await rest.get(f"lbaas/events?{TOLD}")
    return sorted(event["id"] for event in found["events"])


async def _asked(system: System, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *colonnade(*words, "--url", system.endpoint),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said
    return said.decode()


def _notifier(system: System) -> int:
    (found,) = (
        pid
        for pid, words in leftovers.family(system.mark).items()
        if Path(words.split()[0]).name.startswith(Path(sys.executable).name[:6])
        and " colonnade notifier " in f"{words} "
    )
    return found

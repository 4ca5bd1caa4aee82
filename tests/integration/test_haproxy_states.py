# SPDX-License-Identifier: Apache-2.0
"""How a haproxy is, by the states of its own processes alone: a real master and its worker."""

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from colonnade.agent.folder import Folder
from colonnade.agent.haproxy.console import Question
from colonnade.agent.haproxy.process import Haproxy
from colonnade.agent.haproxy.watchdog import Silence, silence
from colonnade.agent.keepalived.process import state_of
from colonnade.runtime.haproxy_binary import find_haproxy
from tests.agent_bench import until

TEXT: Final = "global\n  stats socket {root}/haproxy.sock\ndefaults\n  timeout connect 1s\n"
HERE: Final = Path("/proc/self/ns/net")
STOPPED: Final = "T"
ANSWER_S: Final = 10.0  # it ends with the answer
SOON_S: Final = 0.2
ASKED_MAX: Final = 10_000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
async def haproxy(tmp_path: Path) -> AsyncIterator[Haproxy]:
    folder = Folder(tmp_path)
    folder.config.write_text(TEXT.format(root=tmp_path))
    made = Haproxy(find_haproxy(), folder, HERE)
    assert await made.start() == ""
    yield made
    await made.stop()


async def test_a_stopped_worker_is_seen_also_after_a_reload(haproxy: Haproxy) -> None:
    assert await haproxy.reload() == ""
    assert STOPPED not in haproxy.states()
    worker, *_ = await haproxy.console.workers()
    os.kill(worker, signal.SIGSTOP)

    async def is_seen() -> bool:
        return STOPPED in haproxy.states()

    await until(is_seen)
    os.kill(worker, signal.SIGCONT)


async def test_what_an_operator_asks_it_with_is_no_part_of_it(haproxy: Haproxy) -> None:
    """A program with its socket among its words, which is stopped at a terminal. So nobody looks at
    all processes of an amphora, which are many where load balancers share it."""
    other = await asyncio.create_subprocess_exec(
        "cat", "-", str(haproxy.console.socket), stdin=asyncio.subprocess.PIPE
    )
    try:
        other.send_signal(signal.SIGSTOP)

        async def is_stopped() -> bool:
            return state_of(other.pid) == STOPPED

        await until(is_stopped)
        assert STOPPED not in haproxy.states()
    finally:
        other.kill()
        await other.wait()


async def test_an_answer_counts_also_when_the_agent_was_too_late_to_read_it(
    haproxy: Haproxy,
) -> None:
    """An agent of many seats that lacks processor time must not take VIPs from an haproxy."""
    with Question(haproxy.console.socket) as question:
        asked = select.poll()
        asked.register(question, select.POLLIN)
        assert asked.poll(10_000), "an answer, which the agent has no time to read"
        await question.wait(0.0)
        assert question.is_over


async def test_one_that_is_stopped_is_told_from_one_that_answers(haproxy: Haproxy) -> None:
    assert await silence(haproxy, ANSWER_S) is Silence.NONE
    worker, *_ = await haproxy.console.workers()
    os.kill(worker, signal.SIGSTOP)
    assert await silence(haproxy, SOON_S) is Silence.STOPPED
    os.kill(worker, signal.SIGCONT)
    assert await silence(haproxy, ANSWER_S) is Silence.NONE


async def test_one_that_lets_nobody_ask_any_more_is_not_taken_for_well(haproxy: Haproxy) -> None:
    """So many have asked the one that is stopped that the kernel takes no further connection."""
    master = haproxy.pid
    assert master is not None
    os.kill(master, signal.SIGSTOP)
    with contextlib.ExitStack() as asked:
        with contextlib.suppress(BlockingIOError):
            for _ in range(ASKED_MAX):
                asked.enter_context(Question(haproxy.console.socket))
        assert await silence(haproxy, SOON_S) is Silence.STOPPED
    os.kill(master, signal.SIGCONT)

# SPDX-License-Identifier: Apache-2.0
"""`colonnade up --host-route`: the host reaches VIPs as any client does.

The host is a namespace made here: nothing of the machine's own network is changed or used.
"""

import asyncio
import json
import os
import sys

import pytest

from colonnade.cli.local.children import colonnade


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it changes a host's routes")
async def test_the_host_gets_an_answer_from_the_vip() -> None:
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "--", sys.executable, "-m", "tests.e2e.from_the_host"),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        said, _ = await process.communicate()
    assert process.returncode == 0
    seen = json.loads(said)
    assert seen["answer"] in ("web1", "web2")
    assert seen["left"] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
async def test_an_ordinary_user_is_told_that_it_needs_root() -> None:
    process = await asyncio.create_subprocess_exec(
        *colonnade("up", "--host-route"), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert "needs root" in said.decode()

# SPDX-License-Identifier: Apache-2.0
"""An agent that is killed at any step of a change serves, once it is back, all of the old bundle
or all of the new one: haproxy, its file, the files beside it and the packet filter agree."""

import json
import os
import subprocess
import sys

from tests.agent_site import UNSHARE
from tests.environments import needs_nft

pytestmark = needs_nft


def test_killed_at_every_step_it_serves_one_bundle_whole() -> None:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    program = [UNSHARE[0], *user, *UNSHARE[1:], sys.executable, "-m", "tests.dying_agent"]
    run = subprocess.run(program, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]
    changes = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one["change"] for one in changes] == ["runtime", "reload", "stop"]
    for one in changes:
        mixed = [(step, end) for step, end in enumerate(one["ends"], 1) if isinstance(end, dict)]
        assert mixed == [], one["expected"]
        # The first step is before anything was done, the last is none: the change got through.
        assert (one["ends"][0], one["ends"][-1]) == ("before", "after")
        assert one["expected"]["before"] != one["expected"]["after"]
        assert len(one["ends"]) > 10

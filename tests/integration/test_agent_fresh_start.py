# SPDX-License-Identifier: Apache-2.0
"""However haproxy came to what it serves, it serves what a fresh start from its file would."""

import json
import os
import subprocess
import sys

from tests.agent_site import UNSHARE

SEEDS = [str(seed) for seed in range(8)]


def test_after_any_changes_haproxy_is_as_if_started_afresh() -> None:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    program = [UNSHARE[0], *user, *UNSHARE[1:], sys.executable, "-m", "tests.fresh_start", *SEEDS]
    run = subprocess.run(program, capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 0, run.stderr[-4000:]
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(found) == len(SEEDS)
    for seed, one in zip(SEEDS, found, strict=True):
        assert one["running"] == one["fresh"], (seed, one["means"])
    # The seeds show something: both means, and servers left at the end.
    assert {"runtime", "reload"} <= {means for one in found for means in one["means"]}
    assert sum(len(one["fresh"]["servers"]) for one in found) > len(SEEDS)
    shown = [tuple(certificate) for one in found for certificate in one["fresh"]["certificates"]]
    assert all(len(lines) == 2 for lines in shown)
    assert len(set(shown)) > 1

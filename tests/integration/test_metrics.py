# SPDX-License-Identifier: Apache-2.0
"""Metrics are named as Prometheus wants them: its own tool has nothing to say against one."""

import subprocess

from colonnade.api.extras.statistics import exposition
from colonnade.domain.ids import ListenerId, LoadBalancerId, MemberId, PoolId, new_id
from colonnade.store.reports.traffic import (
    ListenerCounted,
    ListenerTraffic,
    MemberCounted,
    MemberTraffic,
)
from tests.environments import PROMTOOL, needs_promtool


@needs_promtool
def test_promtool_finds_nothing_wrong_with_any_metric() -> None:
    assert PROMTOOL is not None
    root = LoadBalancerId(new_id())
    listener = ListenerCounted(root, "web", ListenerId(new_id()), "", ListenerTraffic(bytes_in=1))
    pool, member = PoolId(new_id()), MemberId(new_id())
    counted = MemberCounted(root, "web", pool, "p", member, "", MemberTraffic(response_ms=1500))
    text = exposition([listener], [counted])
    for words in (["check", "metrics"], ["check", "metrics", "--lint=all"]):
        checked = subprocess.run([PROMTOOL, *words], input=text, capture_output=True, check=False)
        if b"unknown long flag" not in checked.stderr:
            assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b""), words

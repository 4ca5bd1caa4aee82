# SPDX-License-Identifier: Apache-2.0
"""What a run leaves is told: also a process that hides its mark and has lost its parent."""

import os
import subprocess
from pathlib import Path
from uuid import uuid4

from colonnade.cli.local import leftovers
from tests.lab_site import until

# The parent has the mark; its child has an environment of its own, as an amphora has.
FAMILY = 'env -i sleep 60 >/dev/null & echo "$!"; read line'


def test_processes_that_outlive_a_run_are_told_by_what_they_are(tmp_path: Path) -> None:
    mark, before = uuid4().hex, leftovers.look()
    environment = {**os.environ, leftovers.MARK: mark}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ["sh", "-c", FAMILY], stdin=pipe, stdout=pipe, env=environment, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(lambda: leftovers.family(mark)[child] == "sleep 60", 10, "the child to be another")
        seen = leftovers.named(leftovers.family(mark))
        assert {name.pid for name in seen} == {parent.pid, child}
        left = leftovers.leftovers(mark, before, seen, [])
        assert {int(line.split()[1].rstrip(":")) for line in left} == {parent.pid, child}
        parent.communicate("\n")
    left = leftovers.leftovers(mark, before, seen, [tmp_path])
    assert left == [f"process {child}: sleep 60", f"folder {tmp_path}"]
    os.kill(child, 9)

    def is_gone() -> bool:
        return leftovers.leftovers(mark, before, seen, []) == []

    until(is_gone, 5, "the child to be gone")

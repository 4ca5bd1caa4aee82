# SPDX-License-Identifier: Apache-2.0
"""Systemd of this machine, by its own command."""

import subprocess
from pathlib import Path

from colonnade.domain.errors import Broken

S_MAX = 120.0


def is_running() -> bool:
    return Path("/run/systemd/system").is_dir()


def systemctl(*words: str) -> None:
    """Raises Broken with systemd's own words."""
    done = subprocess.run(
        ["systemctl", *words], capture_output=True, text=True, check=False, timeout=S_MAX
    )
    if done.returncode != 0:
        raise Broken(f"systemctl {' '.join(words)} failed", detail=done.stderr.strip())

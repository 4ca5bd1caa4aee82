# SPDX-License-Identifier: Apache-2.0
"""What tests run and the project does not depend on: programs of the distribution, and virtual
environments.

An environment lies beside `.venv`, is made by the first test that asks, and stays for the next run.
A second test that asks meanwhile, in another process, waits for it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from colonnade.runtime.system_programs import can_serve_pairs, find_bird, find_nft

ROOT = Path(__file__).parents[1]
NFT = find_nft()
PROMTOOL = shutil.which("promtool", path=f"{ROOT}/.venv/bin:{os.environ.get('PATH', '')}")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="needs promtool (Debian package prometheus)"
)
needs_keepalived = pytest.mark.skipif(
    not can_serve_pairs(),
    reason="needs keepalived (Debian packages keepalived and nftables)",
)
needs_bird = pytest.mark.skipif(find_bird() is None, reason="needs bird (Debian package bird2)")
needs_nft = pytest.mark.skipif(NFT is None, reason="needs nft (Debian package nftables)")


def environment(name: str, packages: Sequence[str], *, constraints: Path | None = None) -> Path:
    """The folder of the environment's programs, with the packages in it."""
    folder = ROOT / f".venv-{name}"
    with (ROOT / f".venv-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fill(folder, packages, constraints)
    return folder / "bin"


def _fill(folder: Path, packages: Sequence[str], constraints: Path | None) -> None:
    done = folder / "complete"
    wanted = "\n".join([*packages, constraints.read_text() if constraints is not None else ""])
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "-qq", *packages]
        if constraints is not None:
            pip += ["--constraint", str(constraints)]
        subprocess.run(pip, check=True)
        done.write_text(wanted)

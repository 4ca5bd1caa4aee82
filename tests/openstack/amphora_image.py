# SPDX-License-Identifier: Apache-2.0
"""The image that amphorae of a cloud are made of, built once for all tests that boot it.

`make lab` builds it beside the services' environments, with the commands of `docs/image.md`, where
the distribution's programs for that are there; tests that find none are skipped by name.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import ROOT

FILE = ROOT / ".venv-image" / "amphora.raw"
NOT_BUILT = "no image of an amphora (make lab; docs/image.md says what that needs)"
COLONNADE = (sys.executable, "-m", "colonnade", "image")


def build() -> None:
    """Anew each time, for it has this tree's agent in it; without its programs, only say so."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.unlink(missing_ok=True)
    done = subprocess.run([*COLONNADE, "build", "--output", str(FILE)], check=False)
    if done.returncode:
        sys.stderr.write("image: not built, tests that boot it are skipped\n")


def built() -> Path:
    """The image, or the test that asks is skipped."""
    if not FILE.exists():
        pytest.skip(NOT_BUILT)
    return FILE

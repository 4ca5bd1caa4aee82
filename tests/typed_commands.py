# SPDX-License-Identifier: Apache-2.0
"""The commands of a page of docs, as a reader types them on a machine with systemd.

Two things differ from a reader's: the environment is this one, so it is not installed, and the
token is the one that is given.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.systemd_machine import Machine

ROOT: Final = Path(__file__).parents[1]
SCRIPT: Final = (
    "set -e\nshopt -s expand_aliases\nset -v\ncd /tmp\nalias cl={bin}/colonnade\n{lines}\n"
)


def blocks(page: str, heading: str) -> Sequence[str]:
    """Those of commands below that heading of the page. They are of no language."""
    text = (ROOT / page).read_text()
    part = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    found = [lines for language, lines in fenced if not language]
    assert found, heading
    return found


def typed(made: Machine, lines: str, token: str = "") -> str:
    """What they print, and they themselves."""
    said = lines.replace("/opt/colonnade", sys.prefix)
    said = said.replace("COLONNADE_TOKEN=...", f"COLONNADE_TOKEN={token}")
    script = SCRIPT.format(bin=f"{sys.prefix}/bin", lines=said)
    return made.run("bash", "-c", script, env={"COLONNADE_TOKEN": token})

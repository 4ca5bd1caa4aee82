# SPDX-License-Identifier: Apache-2.0
"""The commands of the README, as they are printed, one after the other, on a fresh system.

Only three things differ from a reader's: the port, the state folder, and that the openstack client
is in an environment that other tests use too.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from colonnade.cli.local import folders
from colonnade.cli.local.system import free_port
from tests.environments import environment

ROOT = Path(__file__).parents[2]
CLIENTS = ("python-openstackclient", "python-octaviaclient", "openstacksdk")
PINS = Path(__file__).with_name("client-constraints.txt")
USUAL = "127.0.0.1:9876"
SECONDS_MAX = 500  # for a machine that does much else
# A line that fails ends the script; before each, it is printed.
SCRIPT = "set -e\nshopt -s expand_aliases\nset -v\n{lines}\n"


def blocks() -> list[list[str]]:
    """The lines of each block of commands under "Use it"."""
    part = (ROOT / "README.md").read_text().split("\n## Use it\n")[1].split("\n## ")[0]
    return [found.strip().splitlines() for found in re.findall(r"```\n(.*?)```", part, re.DOTALL)]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the commands find where they are typed: a clone after `make setup`."""
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "examples").symlink_to(ROOT / "examples")
    clients = environment("clients", CLIENTS, constraints=PINS)
    (folder / ".venv-openstack").symlink_to(clients.parent)
    return folder


@contextmanager
def running(line: str, clone: Path, env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        ["bash", "-c", f"exec {line}"], cwd=clone, env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready: ")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_commands_of_the_readme_work_in_their_order(clone: Path, tmp_path: Path) -> None:
    (first,), *rest = blocks()
    assert len(rest) == 3
    state, port = tmp_path / "state", free_port()
    state.mkdir()
    folders.config_file(state).write_text(f"[api]\nport = {port}\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    env["COLONNADE_STATE"] = str(state)
    lines = [line.replace(USUAL, f"127.0.0.1:{port}") for block in rest for line in block]
    assert [line for line in lines if "pip install" in line] == [rest[2][0]]
    typed = "\n".join(line for line in lines if "pip install" not in line)
    with running(first, clone, env):
        done = subprocess.run(
            ["bash", "-c", SCRIPT.format(lines=typed)], cwd=clone, env=env, capture_output=True,
            text=True, timeout=SECONDS_MAX, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        # The web page was fetched, and nothing that the examples make lacks anything.
        assert "\n200\n" in done.stdout, said
        for name in ("web", "shop"):
            tree = subprocess.run(
                [clone / ".venv/bin/colonnade", "lb", "tree", name], cwd=clone, env=env,
                capture_output=True, text=True, timeout=30, check=True,
            )  # fmt: skip
            assert "!" not in tree.stdout, tree.stdout

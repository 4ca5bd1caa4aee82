# SPDX-License-Identifier: Apache-2.0
"""`colonnade init --network`, in a network namespace that plays the machine: what becomes of it,
and what this machine cannot have.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colonnade.cli.local import folders
from colonnade.runtime.config import PhysicalNetwork, read_config

S_MAX = 120
LINKS = (
    "ip link add eth0 type veth peer name other; ip link set eth0 up; ip link set other up; "
    "ip address add 192.0.2.5/24 dev eth0; "
)
WIRE = "name=lan,interface=eth0,cidr=192.0.2.0/24,range=192.0.2.100"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    tmp_path.chmod(0o755)
    yield tmp_path
    shutil.rmtree(tmp_path)


def said(root: Path, *words: str, code: int = 0) -> str:
    argv = [sys.executable, "-m", "colonnade", "init", "--root", str(root), *words]
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f'{LINKS} exec "$@"', "sh", *argv],
        capture_output=True, text=True, timeout=S_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_networks_of_the_command_line_become_tables_of_the_configuration(root: Path) -> None:
    words = ("--network", "name=web,mode=host,interface=eth0", "--network", f"{WIRE},mode=routed")
    said(root, *words)
    config = read_config(folders.config_file(root / "etc/colonnade"))
    assert config.network == (
        PhysicalNetwork(name="web", mode="host", interface="eth0"),
        PhysicalNetwork(
            name="lan",
            mode="routed",
            interface="eth0",
            cidr="192.0.2.0/24",
            range="192.0.2.100",
        ),
    )
    assert "written" not in said(root, *words)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "name=web,mode=host,interface=eth7",
            "eth7 is not on this machine: these are: eth0",
        ),
        ("name=web,mode=host", "there is no default route"),
        ("name=web,mode=proxy", "Invalid enum value 'proxy'"),
        ("name=web,colour=red", "unknown field `colour`"),
        (f"{WIRE},range=192.0.2.5", "192.0.2.5 in it, which is this machine's own"),
    ],
)
def test_what_this_machine_cannot_have_is_refused(root: Path, text: str, says: str) -> None:
    assert says in said(root, "--network", text, "--dry-run", code=1)
    assert list(root.iterdir()) == []


def test_a_vlan_is_taken_where_the_kernel_makes_one(root: Path) -> None:
    tried = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"{LINKS} ip link add link eth0 name v type vlan id 2"],
        capture_output=True, check=False,
    )  # fmt: skip
    code = 0 if tried.returncode == 0 else 1
    words = said(root, "--network", f"{WIRE},vlan=5", "--dry-run", code=code)
    assert ("vlan = 5" if code == 0 else "load its module 8021q") in words

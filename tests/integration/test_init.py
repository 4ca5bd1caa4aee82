# SPDX-License-Identifier: Apache-2.0
"""`colonnade init` and `uninstall` below a folder, where no account is made and systemd is told
nothing: what they write, that they may be repeated, and what they say.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colonnade.cli.local import folders
from colonnade.cli.local.starting import only_one
from colonnade.runtime.config import Config, read_config, write_config
from colonnade.runtime.host_ids import AMPHORAE, FIRST

S_MAX = 120
KINDS = {".service", ".socket", ".timer", ".target"}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    tmp_path.chmod(0o755)
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What nobody changes."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = tmp_path_factory.mktemp("installed")
    root.chmod(0o755)
    said("init", "--root", str(root), "--host-route")
    yield root
    shutil.rmtree(root)


def said(*words: str, code: int = 0, typed: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "colonnade", *words],
        input=typed, capture_output=True, text=True, timeout=S_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def snapshot(root: Path) -> dict[str, tuple[int, int, float, bytes]]:
    """Every file but the database's own, and whose run it was: mode, owner, time and content."""
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and "/postgres" not in str(path) and path.name != "lock":
            seen = path.lstat()
            ids = (seen.st_uid, seen.st_gid)
            found[str(path)] = (seen.st_mode, hash(ids), seen.st_mtime, path.read_bytes())
    return found


def test_a_dry_run_writes_nothing(root: Path) -> None:
    text = said("init", "--root", str(root), "--dry-run", "--api", "127.0.0.1:1234")
    assert "port = 1234" in text
    assert "ExecStart=" in text
    assert list(root.iterdir()) == []


def test_init_is_repeated_without_a_change_and_taken_away_without_a_trace(root: Path) -> None:
    first = said("init", "--root", str(root), "--spares", "1")
    assert "export COLONNADE_TOKEN=col_" in first
    state = root / "var/lib/colonnade"
    config = read_config(root / "etc/colonnade/colonnade.toml")
    assert (config.spares, config.api.auth, config.state_dir) == (1, "token", state)
    before = snapshot(root)
    again = said("init", "--root", str(root), "--spares", "7")
    assert "written" not in again
    assert "admin token: is there" in again
    assert snapshot(root) == before
    # An interrupted run is completed, and a unit of another release becomes this one's.
    unit = root / "etc/systemd/system/colonnade-api.service"
    text = unit.read_text()
    unit.write_text(text.replace("30", "31"))
    (root / "etc/systemd/system/colonnade.target").unlink()
    mended = said("init", "--root", str(root))
    assert f"{unit}: written anew" in mended
    assert unit.read_text() == text
    refused = said("uninstall", "--root", str(root), typed="no\n", code=1)
    assert "nothing is taken away" in refused
    assert state.exists()
    said("uninstall", "--root", str(root), "--keep-state", "--yes")
    assert state.exists()
    assert not unit.exists()
    said("uninstall", "--root", str(root), typed="uninstall\n")
    assert [path for path in root.rglob("*") if not path.is_dir()] == []
    assert not folders.run_dir_path(state).exists()
    assert "nothing is installed" in said("uninstall", "--root", str(root), "--yes", code=1)


def test_no_secret_is_readable_by_others(installed: Path) -> None:
    state = installed / "var/lib/colonnade"
    secrets = [*(state / "pki").iterdir(), installed / "etc/colonnade/colonnade.toml"]
    assert len(secrets) > 5
    for path in secrets:
        seen = path.stat()
        assert seen.st_uid == 0
        assert stat.S_IMODE(seen.st_mode) in {0o600, 0o640}
        # Who may read it beside root is a group that no account of a person is in.
        assert seen.st_gid == 0 or seen.st_gid % AMPHORAE < 16
        assert seen.st_gid == 0 or seen.st_gid >= FIRST
    assert stat.S_IMODE((state / "postgres").stat().st_mode) == 0o700


def test_what_up_has_used_before_is_taken_over(root: Path) -> None:
    state = root / "var/lib/colonnade"
    state.mkdir(parents=True)
    former = Config(state_dir=state, run_dir=root / "run", database_url="x", spares=5)
    write_config(folders.config_file(state), former)
    said("init", "--root", str(root))
    config = read_config(folders.config_file(state))
    assert (config.spares, config.api.auth) == (5, "token")
    assert folders.config_file(state).resolve() == root / "etc/colonnade/colonnade.toml"


def test_a_configuration_that_cannot_be_read_is_named(root: Path) -> None:
    file = root / "etc/colonnade/colonnade.toml"
    file.parent.mkdir(parents=True)
    file.write_text("spares = 'many'\n")
    for word in ("init", "uninstall"):
        assert f"{file}: " in said(word, "--root", str(root), code=1)


def test_a_system_that_runs_is_not_taken_away(installed: Path) -> None:
    state = installed / "var/lib/colonnade"
    with only_one(state, "systemd"):
        assert "end it first" in said("uninstall", "--root", str(installed), "--yes", code=1)
        assert "systemctl stop colonnade.target" in said("down", "--state", str(state), code=1)
        assert "by systemd" in said("up", "--state", str(state), code=1)
    assert (installed / "etc/systemd/system/colonnade.target").exists()


def test_systemd_finds_no_fault_in_the_units(installed: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd")
    units = sorted((installed / "etc/systemd/system").iterdir())
    assert {path.suffix for path in units} == KINDS
    argv = ["systemd-analyze", "--man=no", "verify", *map(str, units)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=S_MAX, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "colonnade" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("office", ["api", "controller", "health", "notifier", "database", "renew"])
def test_a_unit_without_rights_is_hardly_exposed(installed: Path, office: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd")
    unit = installed / f"etc/systemd/system/colonnade-{office}.service"
    argv = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=S_MAX, check=False)
    assert done.returncode == 0, done.stdout  # above 2.0 of 10

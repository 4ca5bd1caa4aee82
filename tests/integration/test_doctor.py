# SPDX-License-Identifier: Apache-2.0
"""`colonnade doctor` finds what would stop `colonnade up`, and advises nothing else."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from colonnade.cli.local import folders
from colonnade.cli.local.doctor import Finding, findings_of
from colonnade.cli.local.system import running


def found(state: Path) -> dict[str, Finding]:
    return {one.what: one for one in findings_of(state)}


def needed(state: Path) -> dict[str, str]:
    return {name: one.found for name, one in found(state).items() if one.cure and one.needed}


def a_file(state: Path) -> Path:
    state.write_text("")
    return state


def configured(text: str) -> Callable[[Path], Path]:
    def put(state: Path) -> Path:
        state.mkdir()
        folders.config_file(state).write_text(text)
        return state

    return put


@pytest.mark.parametrize(
    ("spoil", "what", "says"),
    [
        (a_file, "state folder", "is not a folder"),
        (configured("[api]\nprot = 1\n"), "configuration", "unknown field `prot`"),
        (configured('[api]\nhost = "0.0.0.0"\n'), "API address", "0.0.0.0 is not loopback"),
        (configured('[api]\nauth = "keystone"\n'), "cloud", "needs auth_url"),
    ],
)
def test_what_would_stop_a_start_is_found(
    spoil: Callable[[Path], Path], what: str, says: str, tmp_path: Path
) -> None:
    assert says in needed(spoil(tmp_path / "state"))[what]


def test_a_place_that_is_taken_is_found_and_a_free_one_needs_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        folders.config_file(tmp_path).write_text(f"[api]\nport = {port}\n")
        assert needed(tmp_path).keys() == {"API address"}
    assert needed(tmp_path) == {}
    assert found(tmp_path)["namespaces"] == Finding(what="namespaces", found="may be made")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "is not writable" in needed(tmp_path / "state")["state folder"]
    finally:
        tmp_path.chmod(0o700)


async def test_a_running_system_is_told_and_its_own_port_is_no_fault(tmp_path: Path) -> None:
    async with running("--spares", "0", state=tmp_path) as system:
        told = await asyncio.to_thread(found, tmp_path)
    assert told["system"].found == f"runs, and {system.endpoint} answers"
    assert "API address" not in told
    assert [name for name, one in told.items() if one.cure and one.needed] == []

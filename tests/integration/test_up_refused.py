# SPDX-License-Identifier: Apache-2.0
"""A system that cannot start says why, at once, and leaves nothing; and a command about a system
that is named never reaches another one. With real processes.
"""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from colonnade.cli.local import folders, leftovers
from colonnade.cli.local.children import colonnade
from colonnade.cli.local.system import free_port, running

AT_ONCE_S = 30.0  # on a loaded machine; what is waited for in vain takes 60


def told(*words: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """How a command ends, and what it says of its errors."""
    ended = subprocess.run(
        colonnade(*words), capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stderr


def configured(text: str) -> Callable[[Path], None]:
    def put(state: Path) -> None:
        folders.config_file(state).write_text(text)

    return put


def file_at(name: str) -> Callable[[Path], None]:
    """A file of somebody else's, in the place of something that the system has there."""

    def put(state: Path) -> None:
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text("not ours")

    return put


@pytest.mark.parametrize(
    ("spoil", "words", "why"),
    [
        (configured(""), ["--api", "0.0.0.0:{port}"], "0.0.0.0 is not loopback"),
        (configured('haproxy = "/nix"'), [], "the configured haproxy '/nix' is not there"),
        (configured(""), ["--database", "host=/nix"], "the database is not available"),
        (configured(""), ["--database", "host=127.0.0.1 port=1025"], "database is not available"),
        (configured(""), ["--database", "host=127.0.0.1 port=1"], "is below 1024"),
        (configured(""), ["--database", "postgresql://u:p%zz@h/db"], "as in postgresql://user@"),
        (configured('[api]\nauth = "nix"'), [], "`api` does not start: auth 'nix' is not known"),
        (
            configured('[api]\npolicy_file = "/nix"'), [],
            "`api` does not start: the policy file /nix is not there",
        ),
        (file_at("postgres/notes.txt"), [], "is not a database of PostgreSQL, and is not empty"),
        (file_at("network/networks"), [], "`network` does not start: FileExistsError"),
        (file_at("pki/master.key"), [], "master.key contains no master key"),
        (file_at("logs"), [], "logs: File exists"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_system_that_cannot_start_says_why_at_once_and_leaves_nothing(
    spoil: Callable[[Path], None], words: list[str], why: str, tmp_path: Path
) -> None:
    spoil(tmp_path)
    port = str(free_port())
    mark = f"refused-{tmp_path}"
    asked = [word.format(port=port) for word in words]
    where = [] if "--api" in asked else ["--api", f"127.0.0.1:{port}"]
    began = time.monotonic()
    code, said = told(
        "up", "--state", str(tmp_path), *where, *asked, env={leftovers.MARK: mark}
    )  # fmt: skip
    took = time.monotonic() - began
    assert code == 1
    assert why in said
    assert said.startswith("colonnade up: ")
    assert took < AT_ONCE_S
    assert not folders.run_dir_path(tmp_path).exists()
    assert leftovers.marked(mark) == {}


@pytest.mark.parametrize("command", [["up"], ["api", "--noop"]], ids=lambda words: words[0])
def test_a_place_that_is_taken_or_not_to_be_written_to_is_told(
    command: list[str], tmp_path: Path
) -> None:
    option = "--api" if command == ["up"] else "--listen"
    (tmp_path / "file").write_text("")
    code, said = told(*command, "--state", str(tmp_path / "file" / "state"))
    assert (code, "cannot be written to (Not a directory)" in said) == (1, True)
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = "{}:{}".format(*other.getsockname())
        code, said = told(*command, "--state", str(tmp_path), option, place)
    assert (code, f"cannot listen on {place}: Address already in use" in said) == (1, True), said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, said = told("up", "--state", str(tmp_path / "state"))
    tmp_path.chmod(0o700)
    assert (code, "cannot be written to (Permission denied)" in said) == (1, True)


NAMED = [
    ["lb", "list"], ["apply", "-f", "/dev/null"], ["lab", "list"], ["lab", "host", "rm", "web1"],
    ["exec", "--", "true"], ["lab", "exec", "web1", "--", "true"], ["down"], ["token", "list"],
    ["master-key", "rotate"],
]  # fmt: skip


async def test_a_system_that_is_named_is_the_only_one_that_is_asked(tmp_path: Path) -> None:
    there, nowhere = tmp_path / "there", tmp_path / "nowhere"
    there.mkdir()
    nowhere.mkdir()

    async def asked(words: list[str], state: Path, by: str) -> tuple[int, str]:
        place = words.index("--") if "--" in words else len(words)
        option = ["--state", str(state)] if by == "option" else []
        env = {"COLONNADE_STATE": str(state)} if by == "variable" else {}
        line = [*words[:place], *option, *words[place:]]
        return await asyncio.to_thread(told, *line, env=env)

    async with running("--spares", "0", state=there) as system:
        for by in ("option", "variable"):
            answers = await asyncio.gather(*(asked(words, nowhere, by) for words in NAMED))
            for words, (code, said) in zip(NAMED, answers, strict=True):
                assert code == 1, (words, said)
                assert str(nowhere) in said, (words, said)
            assert (await asked(["lb", "list"], there, by))[0] == 0
        elsewhere = {"COLONNADE_URL": system.endpoint}
        line = ["lb", "list", "--state", str(nowhere)]
        code, said = await asyncio.to_thread(told, *line, env=elsewhere)
        assert (code, str(nowhere) in said) == (1, True)
        code, said = await asyncio.to_thread(told, *line, "--url", system.endpoint)
        assert (code, "give one of them" in said) == (1, True)
    # It has stopped; its state is there.
    for words in (["lb", "list"], ["lab", "list"], ["exec", "--", "true"]):
        code, said = await asked(words, there, "option")
        assert code == 1, words
        assert f"no system runs with the state folder {there}" in said, words

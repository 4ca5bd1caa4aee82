# SPDX-License-Identifier: Apache-2.0
"""`make release`: close the changelog's section, build wheel and sdist, and try the wheel.

The version stands in `colonnade/__init__.py`, and the changelog's first section must name it. All
is built from what is committed, in a temporary folder; `dist/` and CHANGELOG.md are written only
when the wheel, installed in an empty environment, answers. Nothing is committed, tagged or pushed:
the commands for that are printed. Needs a package index and some two minutes.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import colonnade
from tools.tables import CODE

CHANGES: Final = "CHANGELOG.md"
HEAD: Final = re.compile(r"^## (?P<version>\S+) \((?P<state>[^)]*)\)$", re.MULTILINE)
UNRELEASED: Final = "unreleased"
ANSWER_S_MAX: Final = 30


class Refused(Exception):
    """Says what is wrong and what to do."""


def closed(changes: str, version: str, day: str) -> str:
    """The changelog with its first section closed on that day. Raises Refused."""
    heads = list(HEAD.finditer(changes))
    if not heads or heads[0]["state"] != UNRELEASED:
        raise Refused(
            f"{CHANGES} does not begin with an open section: write '## {version} ({UNRELEASED})' "
            "and below it what changed for users"
        )
    first = heads[0]
    if first["version"] != version:
        raise Refused(
            f"{CHANGES} is about to release {first['version']}, colonnade/__init__.py says "
            f"{version}: make them the same"
        )
    body = changes[first.end() : heads[1].start() if len(heads) > 1 else None]
    if not re.search(r"^- \S", body, re.MULTILINE):
        raise Refused(f"{CHANGES} has nothing under {version}: write what changed for users")
    return f"{changes[: first.start()]}## {version} ({day}){changes[first.end() :]}"


def release(root: Path, day: str) -> list[Path]:
    """The built files. Raises Refused, with the tree as it was."""
    dirty = output(root, "git", "status", "--porcelain").splitlines()
    if dirty:
        raise Refused(
            f"the tree has changes that are not committed ({dirty[0][3:]} and {len(dirty) - 1} "
            "more): commit them or put them away, a release is built from what is committed"
        )
    version = colonnade.__version__
    changes = closed((root / CHANGES).read_text(), version, day)
    with tempfile.TemporaryDirectory(prefix="colonnade-release-") as name:
        folder = Path(name)
        source = committed(root, folder / "source")
        (source / CHANGES).write_text(changes)
        files = built(source, folder)
        _check_files(source, next(file for file in files if file.suffix == ".whl"))
        _check_installed(files, root / "requirements.lock", folder, version)
        shutil.rmtree(root / "dist", ignore_errors=True)
        (root / "dist").mkdir()
        kept = [Path(shutil.copy(file, root / "dist")) for file in files]
    (root / CHANGES).write_text(changes)
    return kept


def committed(root: Path, folder: Path) -> Path:
    """A clone has what is committed, and nothing else."""
    command = ["git", "clone", "--quiet", "--depth", "1", f"file://{root}", str(folder)]
    subprocess.run(command, check=True)
    return folder


def built(source: Path, folder: Path) -> list[Path]:
    """The sdist, and the wheel made from it."""
    say("building")
    python = _environment(folder / "builder", "build")
    run(folder, python, "-m", "build", "--outdir", folder / "dist", source)
    return sorted((folder / "dist").iterdir())


def _check_files(source: Path, wheel: Path) -> None:
    """What is no module is forgotten most easily: schema, templates, pages."""
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / CODE.name).rglob("*")
        if path.is_file()
    }
    missing = sorted(wanted - set(zipfile.ZipFile(wheel).namelist()))
    if missing:
        raise Refused(
            f"the wheel lacks {', '.join(missing)}: name their kind in pyproject.toml under "
            "[tool.setuptools.package-data]"
        )


def _check_installed(files: list[Path], lock: Path, folder: Path, version: str) -> None:
    say("trying the wheel in an empty environment")
    wheel = next(file for file in files if file.suffix == ".whl")
    python = _environment(folder / "empty", "--constraint", lock, f"{wheel}[local]")
    program = python.with_name("colonnade")
    said = output(folder, program, "--version").strip()
    if said != f"colonnade {version}":
        raise Refused(f"`colonnade --version` of the wheel says {said!r}, not {version}")
    output(folder, program, "--help")
    _check_answers(program, folder)


def _check_answers(program: Path, folder: Path) -> None:
    """A whole API with a throw-away database of its own, which serves nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command: list[str | Path] = [program, "api", "--noop", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        command, cwd=folder, env=surroundings(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready: "):
            raise Refused(f"`colonnade api --noop` of the wheel did not start: {line.strip()}")
        endpoint = line.removeprefix("ready: ").strip()
        _ask(f"{endpoint}/docs")
        _ask(f"{endpoint}/openapi.json")
        wish = {"loadbalancer": {"vip_subnet_id": "8c8a1f4c-2b8f-4f7b-9d0c-3a7f3f0e7a11"}}
        _ask(f"{endpoint}/v2/lbaas/loadbalancers", json.dumps(wish).encode())
    finally:
        process.terminate()
        process.wait(ANSWER_S_MAX)


def _ask(url: str, body: bytes | None = None) -> None:
    headers = {"Content-Type": "application/json"} if body else {}
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:
            answer.read()
    except OSError as error:  # also what is not 2xx
        raise Refused(f"the wheel's API does not answer {url}: {error}") from error


def _environment(folder: Path, *wanted: str | Path) -> Path:
    """The interpreter of a new virtual environment with those packages."""
    run(folder.parent, sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(folder, python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted)
    return python


def run(cwd: Path, *command: str | Path) -> None:
    output(cwd, *command)


def output(cwd: Path, *command: str | Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=surroundings(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(
            f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n"
            f"{(done.stderr or done.stdout)[-2000:]}"
        )
    return done.stdout


def surroundings() -> dict[str, str]:
    """Without what would let the wheel's interpreter find modules of this tree."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def say(words: str, who: str = "release") -> None:
    print(f"{who}: {words}", file=sys.stderr)


def main() -> int:
    root = CODE.parent
    try:
        kept = release(root, datetime.now(UTC).date().isoformat())
    except Refused as refused:
        say(str(refused))
        return 1
    version = colonnade.__version__
    for file in kept:
        print(file.relative_to(root))
    print(
        f"{CHANGES}: {version} is closed. When you are content:\n"
        f'  git commit -m "Release {version}" {CHANGES}\n'
        f'  git tag -a v{version} -m "Colonnade {version}"\n'
        f"  git push origin HEAD v{version}\n"
        "Then raise the version in colonnade/__init__.py and open the changelog's next section."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

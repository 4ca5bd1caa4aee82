# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is valid, and true: clients generated from it work, and thousands of
requests made from it, good and bad, get no answer that it does not tell of, and none that says the
API broke."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.api_server import serving
from tests.environments import environment

SECONDS = 40
GENERATOR = ["openapi-python-client==0.29.1", "openapi-spec-validator==0.9.0"]
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


async def test_no_answer_is_undocumented(database_url: str, tmp_path: Path) -> None:
    program = environment("schemathesis", ["schemathesis==4.32.5"]) / "schemathesis"
    async with serving(tmp_path, database_url) as server:
        asked = subprocess.run(  # noqa: ASYNC221 - the server is a process of its own
            [
                program, "run", f"{server.endpoint}/openapi.json",
                "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing",
                "--max-examples", "10", "--max-time", str(SECONDS), "--seed", "1",
                "--no-shrink", "--continue-on-failure", "--warnings", "off",
            ],
            check=False, capture_output=True, text=True, timeout=SECONDS * 4, cwd=tmp_path,
        )  # fmt: skip
        assert asked.returncode == 0, asked.stdout[-6000:]
        assert "generated" in asked.stdout
        assert '"event": "bug"' not in server.said


async def test_the_document_is_valid_and_a_client_generated_from_it_works(
    database_url: str, tmp_path: Path
) -> None:
    """Nothing of the document may be left out: a generator warns of what it cannot read."""
    programs = environment("openapi", GENERATOR)
    async with serving(tmp_path, database_url, default_provider="noop") as server:
        document = tmp_path / "openapi.json"
        document.write_bytes((await server.get("/openapi.json")).content)
        _run([programs / "openapi-spec-validator", document], tmp_path)
        said = _run(
            [
                programs / "openapi-python-client", "generate", "--path", document,
                "--output-path", tmp_path / "client", "--meta", "none",
            ],
            tmp_path,
        )  # fmt: skip
        assert "parsing" not in said, said
        calls = Path(__file__).with_name("generated_calls.py")
        _run([programs / "python", calls, server.endpoint], tmp_path)


def _run(words: Sequence[object], folder: Path) -> str:
    ran = subprocess.run(
        [str(word) for word in words],
        check=False, capture_output=True, text=True, timeout=120, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-6000:]
    return ran.stdout + ran.stderr

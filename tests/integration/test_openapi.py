# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is true: thousands of requests made from it, good and bad, get no answer
that it does not tell of, and none that says the API broke."""

import subprocess
from pathlib import Path

from tests.api_server import serving
from tests.environments import environment

SECONDS = 40
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

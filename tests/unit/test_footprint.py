# SPDX-License-Identifier: Apache-2.0
"""What a process loads stays in its memory for as long as it runs, so the large libraries are
loaded where they are needed and nowhere else.
"""

import subprocess
import sys

import pytest

LOADED = "import {module}, sys; print(*({libraries!r} & sys.modules.keys()))"


@pytest.mark.parametrize(
    ("module", "libraries"),
    [
        ("colonnade.cli.main", {"aiohttp", "psycopg", "pyroute2", "structlog", "yaml"}),
        ("colonnade.cli.objects.group_commands", {"aiohttp"}),
        ("colonnade.cli.apply.commands", {"yaml"}),
        ("colonnade.cli.local.up", {"aiohttp", "pyroute2"}),
        ("colonnade.api.process", {"oslo_policy", "pyroute2"}),
        ("colonnade.controller.process", {"granian", "pyroute2"}),
        ("colonnade.health.process", {"granian"}),
        ("colonnade.agent.main", {"pyroute2", "structlog"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_process_does_not_load_what_it_does_not_use(module: str, libraries: set[str]) -> None:
    program = LOADED.format(module=module, libraries=libraries)
    loading = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert loading.stdout.split() == [], f"{module} loads what it does not use"

# SPDX-License-Identifier: Apache-2.0
"""What a process loads stays in its memory for as long as it runs, so the large libraries are
loaded where they are needed and nowhere else.
"""

import subprocess
import sys

import pytest

LOADED = "import {module}, sys; sys.exit({library!r} in sys.modules)"


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("colonnade.cli.main", "pyroute2"),
        ("colonnade.cli.main", "structlog"),
        ("colonnade.cli.main", "yaml"),
        ("colonnade.cli.objects.group_commands", "aiohttp"),
        ("colonnade.cli.apply.commands", "yaml"),
        ("colonnade.cli.local.up", "pyroute2"),
        ("colonnade.cli.main", "aiohttp"),
        ("colonnade.cli.main", "psycopg"),
        ("colonnade.cli.local.up", "aiohttp"),
        ("colonnade.api.process", "pyroute2"),
        ("colonnade.api.process", "oslo_policy"),
        ("colonnade.controller.process", "pyroute2"),
        ("colonnade.health.process", "granian"),
        ("colonnade.agent.main", "structlog"),
        ("colonnade.agent.main", "pyroute2"),
    ],
)
def test_a_process_does_not_load_what_it_does_not_use(module: str, library: str) -> None:
    program = LOADED.format(module=module, library=library)
    loading = subprocess.run([sys.executable, "-c", program], check=False)
    assert loading.returncode == 0, f"{module} loads {library}"

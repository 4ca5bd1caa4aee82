# SPDX-License-Identifier: Apache-2.0
"""A certificate from a real issuer (Pebble, RFC 8555): asked for, proved by the amphora, served,
renewed in its place; and one that cannot be had, with cause and cure.

The host is a namespace made here: nothing of the machine's own network is changed or used.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.issuer import needs_pebble


@needs_pebble
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it changes a host's routes")
async def test_a_certificate_is_ordered_proved_served_and_renewed_in_place() -> None:
    with TemporaryDirectory(prefix="ordered-") as folder:
        Path(folder).chmod(0o755)  # the notifier reads the issuer's CA there, as an id of its own
        seen = await _seen(folder)
    assert seen["first"] == ["WAITING", True, "CN=stand-in for shop.example.test"]
    stand_in, names, issuer = seen["issued"]
    assert (stand_in, names) == (False, ["shop.example.test", "www.shop.example.test"])
    assert issuer.startswith("CN=Pebble Intermediate CA")
    assert (seen["status"], seen["renewed"], seen["same_haproxy"]) == ("200", "200", True)
    still, attempts, reason = seen["failing"]
    assert (still, attempts) == (True, 1)
    assert "lost.example.test" in reason
    assert "To do: let the name" in reason
    (issue,) = seen["issues"]
    assert "(lost) is self-signed until its certificate is issued: The issuer says" in issue
    assert seen["left"] == []


async def _seen(folder: str) -> Any:
    program = (sys.executable, "-m", "tests.e2e.ordered_certificates", folder)
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "--", *program), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(300):
        said, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(said)

# SPDX-License-Identifier: Apache-2.0
"""`colonnade serve` with a real issuer (Pebble, RFC 8555): certificates are ordered, proved by the
amphora, served and renewed in their place; and one that cannot be had, with cause and cure.

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
async def test_sites_are_served_with_certificates_that_are_ordered_and_renewed_in_place() -> None:
    with TemporaryDirectory(prefix="ordered-") as folder:
        Path(folder).chmod(0o755)  # the notifier reads the issuer's CA there, as an id of its own
        seen = await _seen(folder)
    served = {one["site"]: one for one in seen["served"]["sites"]}
    assert seen["served"]["addresses"] == ["203.0.113.3"]
    shop, plain, lost = (served[f"{word}.example.org"] for word in ("shop", "status", "lost"))
    assert (shop["order_status"], shop["missing"]) == ("ISSUED", [])
    assert (plain["order_status"], plain["missing"]) == (None, [])
    assert (seen["code"], lost["order_status"]) == (1, "FAILING")
    (missing,) = lost["missing"]
    assert missing.startswith("certificate: The issuer says of lost.example.org: ")
    assert "To do: let the name" in missing
    assert lost["hints"] == [
        "lost.example.org is not in DNS (seen from here): make its A record 203.0.113.3"
    ]
    stand_in, names, issuer = seen["issued"]
    assert (stand_in, names) == (False, ["shop.example.org", "www.shop.example.org"])
    assert issuer.startswith("CN=Pebble Intermediate CA")
    for met in (seen["over_tls"], seen["renewed"]):
        assert (met["status"], met["body"][:3]) == ("200", "web")
    assert seen["same_haproxy"], "a renewed certificate is no reload"
    assert (seen["redirected"]["status"], seen["redirected"]["location"]) == (
        "308", "https://www.shop.example.org/a",
    )  # fmt: skip
    assert (seen["plain"]["status"], seen["plain"]["body"]) == ("200", "web2")
    assert (seen["code_again"], seen["again"]["done"]) == (0, "changed")
    assert (seen["issues"], seen["left"]) == ([], [])


async def _seen(folder: str) -> Any:
    program = (sys.executable, "-m", "tests.e2e.ordered_certificates", folder)
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "--", *program), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(300):
        said, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(said)

# SPDX-License-Identifier: Apache-2.0
"""Changes of the packet filter of a network namespace, each one whole or not at all.

What is changed is said in the JSON of libnftables-json(5). It knows no rule.
"""

import shutil
from pathlib import Path
from typing import Any, Final

import msgspec

from colonnade.agent.programs import run, words

PLACES: Final = "/usr/sbin:/sbin:/usr/bin:/bin"  # an agent's own PATH may lack the first two
CHANGE_S_MAX: Final = 10.0


class NftError(Exception):
    """All is as before; why, in words for a person."""


async def change(wanted: dict[str, Any], namespace: Path) -> None:
    """Raises NftError."""
    nft = shutil.which("nft", path=PLACES)
    if nft is None:
        raise NftError("the amphora has no nft (Debian package nftables)")
    code, output = await run(
        *("nsenter", f"--net={namespace}", nft, "--json", "--file", "-"),
        given=msgspec.json.encode(wanted),
        within_s=CHANGE_S_MAX,
    )
    if code != 0:
        raise NftError(words(output))

# SPDX-License-Identifier: Apache-2.0
"""Find programs of the distribution: nft, keepalived and bird, configured or the system's.

Unlike haproxy they may be missing: without a packet filter nobody may restrict clients, and without
either amphorae serve alone, so nobody may ask for a pair. Without bird no VIP is announced.
"""

import os
import shutil
from pathlib import Path
from typing import Final

PLACES: Final = "/usr/sbin:/sbin:/usr/bin:/bin"  # a PATH may lack the first two
CURE: Final = (
    "install keepalived and nft (Debian packages keepalived and nftables) on the machine where "
    "amphorae run, or say in the configuration where keepalived is"
)


def find_nft() -> str | None:
    """Its absolute path; None when there is none."""
    return shutil.which("nft", path=PLACES)


def find_keepalived(configured: str = "") -> Path | None:
    """Its absolute path; None when there is none."""
    return _found(configured or "keepalived")


def find_bird(configured: str = "") -> Path | None:
    """The same of BIRD 2."""
    return _found(configured or "bird")


def _found(name: str) -> Path | None:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PLACES}")
    return Path(found).absolute() if found is not None else None


def can_serve_pairs(configured: str = "") -> bool:
    """Without a packet filter a half would listen to strangers."""
    return find_keepalived(configured) is not None and find_nft() is not None

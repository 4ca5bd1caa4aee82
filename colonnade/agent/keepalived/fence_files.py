# SPDX-License-Identifier: Apache-2.0
"""Files by which a fence moves with the role of a half: what nft reads, and what keepalived says.

They are there while the half has VIPs that a router leads to it, and tell a keepalived that is
started anew that its fence is to be moved.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from colonnade.runtime.system_programs import find_nft

FOLLOWER: Final = Path(__file__).with_name("with-fence.sh")


class FenceFiles(NamedTuple):
    up: Path
    down: Path
    roles: Path  # keepalived writes a line here when the half becomes something else

    @classmethod
    def below(cls, folder: Path) -> "FenceFiles":
        return cls(folder / "fence-up.json", folder / "fence-down.json", folder / "roles.fifo")

    def follower(self) -> Sequence[str]:
        """What keepalived's command line follows, so that the fence is moved; none: there is none.

        keepalived would run programs by itself, but not with the few rights that it has."""
        nft = find_nft()
        if nft is None or not self.up.exists():
            return ()
        return ("sh", str(FOLLOWER), str(self.roles), nft, str(self.up), str(self.down))

# SPDX-License-Identifier: Apache-2.0
"""The fence of one half of a pair whose VIPs a router leads to it: up while it stands by.

What is started with keepalived takes it down and puts it up as the half takes the floating address
or loses it: so it moves with the address, also while the agent is away. It is up before a half
begins to speak, and the agent looks whether it is as it should be.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from colonnade.agent.folder import write
from colonnade.agent.keepalived.fence_files import FenceFiles
from colonnade.agent.network import fence
from colonnade.protocol.bundle import LOCAL, Bundle


class PairFence:
    def __init__(self, files: FenceFiles, namespace: Path) -> None:
        self._files = files
        self._namespace = namespace
        self._open_for: bool | None = None  # what `follow` was last told; None: it is not known

    def prepare(self, vips: Sequence[str]) -> None:
        """For these VIPs; none: nothing to do. Raises ValueError."""
        for file, around in ((self._files.down, ()), (self._files.up, vips)):
            if vips:
                write(file, msgspec.json.encode(fence.transaction(around)))

    async def put_up(self, vips: Sequence[str]) -> None:
        """Raises NftError."""
        self._open_for = None
        await fence.put_up(vips, self._namespace)

    async def follow(self, vips: Sequence[str], *, holds: bool) -> None:
        """Make it as it must be for one that holds the floating address, or does not: keepalived's
        word may have come just before another act of ours. Raises NftError."""
        if vips and self._open_for is not holds:
            await fence.put_up(() if holds else vips, self._namespace)
            self._open_for = holds

    def retire(self) -> None:
        """From now on whatever moves it takes it down: keepalived says as its last word that the
        half stands by, and what that starts may end after all else."""
        if self._files.up.exists():
            write(self._files.up, msgspec.json.encode(fence.transaction(())))

    async def forget(self) -> None:
        """The amphora serves alone. None is up: nothing to do. Raises NftError."""
        self._open_for = None
        if self._files.up.exists():
            await fence.take_down(self._namespace)
            self._files.up.unlink()


def routed_vips(bundle: Bundle) -> Sequence[str]:
    """Those that a router leads here, without a prefix length."""
    return [
        address.partition("/")[0]
        for interface in bundle.interfaces
        if interface.mac == LOCAL
        for address in interface.addresses
    ]

# SPDX-License-Identifier: Apache-2.0
"""What is asked of a cloud's key manager, where users keep secrets outside of this service.

Who asks keeps a copy of what is read, under a seal: what is served needs nobody else. So a key
manager is asked when a reference is new, and now and then whether there is another content.
"""

from typing import Protocol

import msgspec

from colonnade.drivers.secrets.material import Upload
from colonnade.drivers.secrets.protocol import Source


class Consumer(msgspec.Struct, frozen=True, order=True):
    """A listener or pool that uses a secret. `kind`: "listeners" or "pools"."""

    kind: str
    id: str


class KeyManager(Protocol):
    """Each call may be repeated. `token`: a user's, with whose rights it is made; "": this
    service's own. `place`: as in `Source`.

    Raises NotFound for what is not there or may not be read, Invalid for a secret that is no such
    thing, Unavailable when waiting may help."""

    async def owns(self, source: Source) -> bool:
        """Whether that is at one of its own addresses: nobody is asked at any other."""

    async def read(self, place: str, token: str = "") -> Upload:
        """What is there, not yet checked."""

    async def lend(self, place: str, token: str) -> None:
        """Have this service read it too, if whoever has the token may say so."""

    async def register(self, place: str, consumer: Consumer) -> None:
        """Have it known as used by that one."""

    async def deregister(self, place: str, consumer: Consumer) -> None:
        """And as no longer used."""

    async def close(self) -> None: ...

# SPDX-License-Identifier: Apache-2.0
"""Secrets that lie in the database, sealed with a master key that does not.

AES-256-GCM with a fresh nonce each time. The owner's name is sealed in, so that a row copied over
another does not open. While the key is exchanged the file holds two: the first seals, either
opens, and a process that runs sees the change by itself. Neither a key nor what was sealed is
ever in a message or a repr.
"""

import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from colonnade.domain.errors import Broken
from colonnade.domain.ids import ProjectId
from colonnade.drivers.secrets.protocol import kept_ids
from colonnade.runtime.files import Reread, replace_file

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
NEXT: Final = "next:"  # before a key in the file that is to seal later


class Envelope(msgspec.Struct, frozen=True):
    """A secret under a key of its own, and that key under the master key: a new master key is
    a new seal for the small key alone."""

    wrapped_key: bytes
    sealed: bytes

    def __repr__(self) -> str:
        return "Envelope(***)"


class Kept(msgspec.Struct, frozen=True):
    project_id: ProjectId
    envelope: Envelope


Find = Callable[[Collection[str]], Awaitable[Mapping[str, Kept]]]


class Seal:
    """`present` returns the keys of now, for keys that may be exchanged while we run."""

    def __init__(
        self, key: bytes, *older: bytes, present: Callable[[], tuple[bytes, ...]] | None = None
    ) -> None:
        self._keys = (key, *older)
        self._present = present or (lambda: self._keys)
        self._use(self._keys)

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """A key is a line of hexadecimal digits. Raises Broken when it cannot be read."""
        keys = Reread(lambda: read_keys(file), file, failures=(Broken,))
        return cls(*keys(), present=keys)

    def seal(self, secret: bytes, owner: str) -> bytes:
        self._look()
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret, owner.encode())

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """Raises Broken when it was sealed with another key or for another owner."""
        found = self._open(sealed, owner)
        if found is None and self._look():
            found = self._open(sealed, owner)
        if found is None:
            raise Broken(f"the secret of {owner} cannot be decrypted with this master key")
        return found[0]

    def renew(self, sealed: bytes, owner: str) -> bytes | None:
        """The same under the first key; None when it is that already. Raises Broken."""
        self._look()
        found = self._open(sealed, owner)
        if found is None:
            raise Broken(f"the secret of {owner} cannot be decrypted with this master key")
        secret, place = found
        return self.seal(secret, owner) if place else None

    def enclose(self, secret: bytes, owner: str) -> Envelope:
        key = os.urandom(KEY_BYTES)
        return Envelope(self.seal(key, owner), Seal(key).seal(secret, owner))

    def disclose(self, envelope: Envelope, owner: str) -> bytes:
        """Raises Broken as `unseal` does."""
        return Seal(self.unseal(envelope.wrapped_key, owner)).unseal(envelope.sealed, owner)

    def _use(self, keys: tuple[bytes, ...]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise Broken(f"the master key must have {KEY_BYTES} bytes")
        self._keys = keys
        self._ciphers = [AESGCM(key) for key in keys]

    def _look(self) -> bool:
        """Whether the keys were exchanged since the last look."""
        keys = self._present()
        if keys == self._keys:
            return False
        self._use(keys)
        return True

    def _open(self, sealed: bytes, owner: str) -> tuple[bytes, int] | None:
        """What was sealed, and the place of the key that opened it."""
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        for place, cipher in enumerate(self._ciphers):
            try:
                return cipher.decrypt(nonce, rest, owner.encode()), place
            except (InvalidTag, ValueError):
                continue
        return None


class DatabaseSecrets:
    """A `Secrets`. `find` reads rows by id."""

    def __init__(self, find: Find, seal: Seal) -> None:
        self._find = find
        self._seal = seal

    async def fetch(self, project: ProjectId, references: Collection[str]) -> Mapping[str, str]:
        ids = {reference: kept_ids(reference, project) for reference in references}
        rows = await self._find([one for some in ids.values() for one in some])
        found = {}
        for reference, some in ids.items():
            mine = [one for one in some if one in rows and rows[one].project_id == project]
            if not mine:
                raise Broken(f"Could not retrieve certificate: {[reference]}")
            found[reference] = self._seal.disclose(rows[mine[0]].envelope, mine[0]).decode()
        return found


def read_keys(file: Path) -> tuple[bytes, ...]:
    """The first seals. Raises Broken when there is none."""
    return read_ring(file).keys


class Ring(msgspec.Struct, frozen=True):
    """The keys of a file: any opens, the first seals. `is_prepared`: the last is a new one that
    has sealed nothing yet, so that every copy of the file may get it first."""

    keys: tuple[bytes, ...]
    is_prepared: bool = False

    def __repr__(self) -> str:
        return "Ring(***)"


def read_ring(file: Path) -> Ring:
    """Raises Broken when there is no key."""
    try:
        words = file.read_text().split()
        prepared = bool(words) and words[-1].startswith(NEXT)
        keys = tuple(bytes.fromhex(word.removeprefix(NEXT)) for word in words)
    except (OSError, ValueError) as error:
        # Raised without its cause: a ValueError could quote the key.
        raise Broken(f"{file} contains no master key", detail=type(error).__name__) from None
    if not keys:
        raise Broken(f"{file} contains no master key")
    return Ring(keys, prepared)


def write_ring(file: Path, ring: Ring) -> None:
    """All or nothing, and never readable by others, not even for a moment."""
    words = [key.hex() for key in ring.keys]
    if ring.is_prepared:
        words[-1] = NEXT + words[-1]
    replace_file(file, "".join(word + "\n" for word in words))


def write_keys(file: Path, *keys: bytes) -> None:
    write_ring(file, Ring(keys))

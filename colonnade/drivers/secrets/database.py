# SPDX-License-Identifier: Apache-2.0
"""Secrets that lie in the database, sealed with a master key that does not.

AES-256-GCM with a fresh nonce each time. The owner's name is sealed in, so that a row copied over
another does not open. Neither the key nor what was sealed is ever in a message or a repr.
"""

import os
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from colonnade.domain.errors import Broken

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class Seal:
    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise Broken(f"the master key must have {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """The key is written in hexadecimal digits. Raises Broken when it cannot be read."""
        try:
            return cls(bytes.fromhex(file.read_text()))
        except (OSError, ValueError) as error:
            # Without the cause: a ValueError could quote the key.
            raise Broken(f"{file} holds no master key", detail=type(error).__name__) from None

    def seal(self, secret: bytes, owner: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, owner.encode())

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        """Raises Broken when it was sealed with another key or for another owner."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError) as error:
            raise Broken(f"the secret of {owner} does not open with this master key") from error

# SPDX-License-Identifier: Apache-2.0
"""What a backup is encrypted with: a passphrase, or public keys of age (age-encryption.org/v1).

It is a file of age, so that `age --decrypt` opens it too, whatever becomes of Colonnade. With a
passphrase it is encrypted in memory, and so it has a limit; with keys it may have any size.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from colonnade.domain.errors import Broken, Invalid

IN_MEMORY_MAX: Final = 2**30  # bytes
PASSPHRASE_MIN: Final = 12  # characters


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two."""

    passphrase: str = ""
    names: Sequence[str] = ()  # of recipients to encrypt for, or identities to decrypt with

    def encrypt(self, plain: Path, sealed: Path) -> None:
        """Raises Invalid for what is no key, and for what is too large."""
        age = _age()
        if self.names:
            recipients = [self._known(age.x25519.Recipient, name) for name in self.names]
            with plain.open("rb") as source, sealed.open("wb") as target:
                age.encrypt_io(source, target, recipients)
            return
        if plain.stat().st_size > IN_MEMORY_MAX:
            raise Invalid(
                f"the backup has more than {IN_MEMORY_MAX >> 20} MiB, the most that a passphrase "
                "encrypts: make a key with `age-keygen`, and name its public part with --recipient"
            )
        sealed.write_bytes(age.passphrase.encrypt(plain.read_bytes(), self.passphrase))

    def decrypt(self, sealed: Path, plain: Path) -> None:
        """Raises Invalid when it is no backup, is damaged, or has another key."""
        age = _age()
        try:
            if self.names:
                identities = [self._known(age.x25519.Identity, name) for name in self.names]
                with sealed.open("rb") as source, plain.open("wb") as target:
                    age.decrypt_io(source, target, identities)
            else:
                plain.write_bytes(age.passphrase.decrypt(sealed.read_bytes(), self.passphrase))
        except (age.DecryptError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of a file; what is damaged further on is an OSError without a number
            raise Invalid(
                f"{sealed} cannot be decrypted: it has another passphrase or key, is damaged, or "
                "is no backup"
            ) from error

    def _known(self, kind: Any, name: str) -> Any:
        age = _age()
        try:
            return kind.from_str(name)
        except (age.RecipientError, age.IdentityError) as error:
            raise Invalid("--recipient takes a public key of age: age1...") from error


def _age() -> Any:
    """Raises Broken where it is not installed."""
    try:
        return import_module("pyrage")
    except ImportError as error:
        raise Broken(
            "pyrage, which encrypts backups, is not installed: install colonnade with its `local` "
            "or `backup` extra"
        ) from error


def identities_of(file: Path) -> list[str]:
    """The secret keys in a file as `age-keygen` writes it. Raises Invalid."""
    found = [line for line in _lines(file) if line.startswith("AGE-SECRET-KEY-")]
    if not found:
        raise Invalid(f"{file} has no line AGE-SECRET-KEY-..., as age-keygen writes it")
    return found


def asked_for(file: Path | None, *, twice: bool) -> str:
    """The first line of the file, else what a person types, `twice` to be sure. Raises Invalid."""
    if file is not None:
        return _checked(next(iter(_lines(file)), ""))
    if not sys.stdin.isatty():
        raise Invalid("there is nobody to ask for a passphrase: name a file, --passphrase-file")
    return _checked(str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice)))


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text().splitlines()]
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error


def _checked(passphrase: str) -> str:
    if len(passphrase) < PASSPHRASE_MIN:
        raise Invalid(
            f"a passphrase has at least {PASSPHRASE_MIN} characters: it protects all keys"
        )
    return passphrase

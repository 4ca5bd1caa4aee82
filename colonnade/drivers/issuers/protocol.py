# SPDX-License-Identifier: Apache-2.0
"""What is asked of an issuer of certificates.

Both calls may be repeated, and each `issue` counts against the issuer's limits: how often it is
called is the caller's affair. `tests/integration/test_ordered_certificates.py` is the other half.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from colonnade.domain.errors import Broken


class NotIssued(Broken):
    """In the issuer's words, with what to do about it. `after_s`: not before then."""

    def __init__(self, public: str, *, after_s: float = 0.0) -> None:
        super().__init__(public)
        self.after_s = after_s


class Account(msgspec.Struct, frozen=True):
    key_pem: str
    uri: str = ""  # "": not registered yet

    def __repr__(self) -> str:
        return "Account(***)"


class Issuer(Protocol):
    directory: str  # which issuer this is

    async def register(self, account: Account) -> Account:
        """With its URI; the same as before where the issuer knows the key. Raises NotIssued."""

    async def issue(self, account: Account, csr_pem: str, host_names: Sequence[str]) -> str:
        """The certificate and those that issued it, as PEM. The issuer asks each name over HTTP for
        a token, and must be answered meanwhile. Raises NotIssued."""

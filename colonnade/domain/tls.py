# SPDX-License-Identifier: Apache-2.0
"""What TLS attributes of listeners and pools have in common: versions, ciphers, ALPN, references.

Certificates are named by reference; what stands behind a reference is not known here. Empty
versions or ALPN protocols mean that there is no TLS, or that the provider's defaults hold.
"""

import re
from typing import Annotated, Final, Protocol, TypeAlias

from colonnade.domain import limits
from colonnade.domain.attributes import Attribute
from colonnade.domain.errors import require
from colonnade.domain.vocabulary import AlpnProtocol, TlsVersion

CIPHERS: Final = re.compile(r"[A-Za-z0-9+!:@=_.-]*", re.ASCII)
# What a TLS listener gets when it says nothing (B.5).
VERSIONS_DEFAULT: Final = (TlsVersion.TLSV1_2, TlsVersion.TLSV1_3)
ALPN_DEFAULT: Final = (AlpnProtocol.H2, AlpnProtocol.HTTP_1_1, AlpnProtocol.HTTP_1_0)
# OWASP's cipher string B, which the wire contract names as the default.
CIPHERS_DEFAULT: Final = (
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:"
    "DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA256:DHE-RSA-AES128-SHA256:"
    "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256"
)

CipherList: TypeAlias = Annotated[
    limits.Ciphers | None, Attribute("OpenSSL's list of ciphers.", chosen=True)
]
Versions: TypeAlias = Annotated[
    tuple[TlsVersion, ...],
    Attribute("A version; repeat.", option="--tls-version", chosen=True, null_when_empty=True),
]
Alpn: TypeAlias = Annotated[
    tuple[AlpnProtocol, ...],
    Attribute("A protocol; repeat.", option="--alpn", chosen=True, null_when_empty=True),
]


class TlsAttributes(Protocol):
    @property
    def tls_ciphers(self) -> str | None: ...
    @property
    def tls_versions(self) -> tuple[TlsVersion, ...]: ...
    @property
    def alpn_protocols(self) -> tuple[AlpnProtocol, ...]: ...


def check_tls(node: TlsAttributes) -> None:
    """Raises Invalid for ciphers that could not be a list, or for anything named twice."""
    if node.tls_ciphers is not None:
        fits = CIPHERS.fullmatch(node.tls_ciphers) is not None
        require("tls_ciphers", fits, "have characters that no cipher list has")
    once = len(set(node.tls_versions)) == len(node.tls_versions)
    require("tls_versions", once, "name a version twice")
    once = len(set(node.alpn_protocols)) == len(node.alpn_protocols)
    require("alpn_protocols", once, "name a protocol twice")


def check_reference(field: str, reference: str | None) -> None:
    if reference is not None:
        fits = 0 < len(reference) <= limits.REFERENCE_MAX and reference.isprintable()
        require(field, fits, "must be printable and 1 to 255 characters long")

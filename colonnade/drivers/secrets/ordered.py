# SPDX-License-Identifier: Apache-2.0
"""What is made here for certificates that an issuer signs: our key to the issuer, the key of a
certificate and the request for it, and the self-signed one that stands in until it is issued.

A key leaves as PEM text and is kept by the caller alone. Knows no issuer and no store.
"""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

STAND_IN_DAYS: Final = 365
BACKDATE: Final = timedelta(minutes=5)


class AccountKey(msgspec.Struct, frozen=True):
    """`thumbprint`: RFC 7638, in base64 without padding."""

    pem: str
    thumbprint: str

    @classmethod
    def new(cls) -> "AccountKey":
        key = ec.generate_private_key(ec.SECP256R1())
        numbers = key.public_key().public_numbers()
        x, y = (_base64(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        members = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":"))
        return cls(_pem(key), _base64(sha256(members.encode()).digest()))

    def __repr__(self) -> str:
        return "AccountKey(***)"


class Request(msgspec.Struct, frozen=True):
    """A fresh key, and what is shown to the issuer of it."""

    key_pem: str
    csr_pem: str

    @classmethod
    def new(cls, host_names: Sequence[str]) -> "Request":
        key = ec.generate_private_key(ec.SECP256R1())
        csr = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(_names(host_names), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(_pem(key), csr.public_bytes(Encoding.PEM).decode())

    def __repr__(self) -> str:
        return "Request(***)"


def stand_in(host_names: Sequence[str]) -> str:
    """A self-signed certificate for the names, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = f"stand-in for {host_names[0]}"[:64]  # as long as a common name may be
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, own)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=STAND_IN_DAYS))
        .add_extension(_names(host_names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode() + _pem(key)


def _names(host_names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in host_names])


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

# SPDX-License-Identifier: Apache-2.0
"""What users upload, read and checked: certificates with their keys, CAs and CRLs.

What comes out is PEM as haproxy reads it: the certificate, those that issued it, in order, and
the key, without a passphrase. Everything that would fail at a handshake later is refused here,
in words that hold nothing of what was uploaded but subjects and dates. Knows no store.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from colonnade.domain.errors import Invalid, require
from colonnade.domain.secrets import Facts, SecretType
from colonnade.drivers.secrets import soundness

PEM_CHARACTERS_MAX: Final = 1024 * 1024
CHAIN_MAX: Final = 10
CAS_MAX: Final = 200
CRLS_MAX: Final = 50
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)
_IGNORED: Final = frozenset({"EC PARAMETERS", "DH PARAMETERS"})
TRUSTED: Final = "TRUSTED CERTIFICATE"  # OpenSSL's own: more may follow the certificate in it
CERTIFICATES: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE", TRUSTED})
KEYS: Final = frozenset(
    {"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY"}
)
CRLS: Final = frozenset({"X509 CRL"})
T = TypeVar("T", x509.Certificate, x509.CertificateRevocationList)
PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two: PEM text, or PKCS12 in base64."""

    pem: str | None = None
    pkcs12: str | None = None
    passphrase: str | None = None

    def __repr__(self) -> str:
        return "Upload(***)"


class Material(msgspec.Struct, frozen=True):
    """`public` is what any client of a listener could see: the PEM without the key."""

    pem: str
    public: str
    facts: Facts

    def __repr__(self) -> str:
        return "Material(***)"


def read_material(kind: SecretType, upload: Upload, now: datetime) -> Material:
    """Raises Invalid with what is wrong."""
    given = (upload.pem is not None) + (upload.pkcs12 is not None)
    require("pem", given == 1, "or pkcs12 must be given, and not both")
    text = upload.pem if upload.pem is not None else upload.pkcs12 or ""
    field = "pem" if upload.pem is not None else "pkcs12"
    require(field, 0 < len(text) <= PEM_CHARACTERS_MAX, "must have 1 to 1048576 characters")
    if kind is SecretType.CERTIFICATE:
        return _certificate(upload, now)
    require(
        "pkcs12", upload.pkcs12 is None, f"is for certificates with a key; give a {kind} as pem"
    )
    return (_cas if kind is SecretType.CA else _crls)(upload.pem or "", now)


def crls_outside(crl_pem: str, ca_pem: str) -> list[str]:
    """Issuers of CRLs that no CA of the bundle has signed."""
    cas = x509.load_pem_x509_certificates(ca_pem.encode())
    found = []
    for crl in map(x509.load_pem_x509_crl, _blocks_of(crl_pem)):
        by = [ca for ca in cas if ca.subject == crl.issuer]
        if not any(soundness.has_signed(ca, crl) for ca in by):
            found.append(crl.issuer.rfc4514_string())
    return found


def _certificate(upload: Upload, now: datetime) -> Material:
    if upload.pkcs12 is not None:
        key, chain = _from_pkcs12(upload.pkcs12, upload.passphrase)
    else:
        key, chain = _from_pem(upload.pem or "", upload.passphrase)
    require("certificate", len(chain) <= CHAIN_MAX, f"comes with at most {CHAIN_MAX - 1} others")
    leaf = chain[0]
    if leaf.public_key() != key.public_key():
        others = any(one.public_key() == key.public_key() for one in chain[1:])
        raise Invalid(
            "The private key belongs to another certificate of the chain: that one comes first."
            if others
            else "The private key does not belong to the certificate."
        )
    soundness.check_order(chain)
    for place, one in enumerate(chain):
        soundness.check(one, "certificate" if place == 0 else "intermediate certificate", now)
    own = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Material(_text(chain) + own, _text(chain), soundness.facts(chain))


def _from_pem(text: str, passphrase: str | None) -> tuple[PrivateKey, Sequence[x509.Certificate]]:
    blocks = _blocks(text)
    _refuse_others(blocks, CERTIFICATES | KEYS)
    keys = [block for label, block in blocks if label in KEYS]
    chain = _once(_read_certificate(*one) for one in blocks if one[0] in CERTIFICATES)
    require("certificate", bool(chain), "is missing: the pem has no CERTIFICATE block")
    require("private key", bool(keys), "is missing: the pem has no PRIVATE KEY block")
    require("private key", len(keys) == 1, "must be one: the pem has several")
    return _read_key(keys[0], passphrase), chain


def _read_key(block: str, passphrase: str | None) -> PrivateKey:
    encrypted = "ENCRYPTED" in block
    if encrypted and not passphrase:
        raise Invalid("The private key is encrypted: give its passphrase, or the key without one.")
    try:
        password = passphrase.encode() if encrypted and passphrase else None
        key = load_pem_private_key(block.encode(), password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Raised without its cause, which could quote the secret.
        why = ": is the passphrase right?" if encrypted else "."
        raise Invalid(f"The private key cannot be read{why}") from None
    if not isinstance(key, PrivateKey):
        raise Invalid("The private key is of a kind that is not for TLS.")
    return key


def _from_pkcs12(
    text: str, passphrase: str | None
) -> tuple[PrivateKey, Sequence[x509.Certificate]]:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("pkcs12 must be in base64", field="pkcs12") from None
    try:
        found = pkcs12.load_pkcs12(content, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid(
            "The pkcs12 cannot be read: it is not PKCS #12, the passphrase is wrong, or it is "
            "encrypted in an old way that is no longer supported (export it again)."
        ) from None
    if found.key is None or found.cert is None:
        raise Invalid("The pkcs12 must hold a certificate and its private key.")
    if not isinstance(found.key, PrivateKey):
        raise Invalid("The private key is of a kind that is not for TLS.")
    others = [one.certificate for one in found.additional_certs]
    leaf = found.cert.certificate
    return found.key, soundness.in_order(leaf, [one for one in _once(others) if one != leaf])


def _cas(text: str, now: datetime) -> Material:
    blocks = _blocks(text)
    _refuse_others(blocks, CERTIFICATES)
    cas = _once(_read_certificate(*one) for one in blocks)
    require("pem", bool(cas), "has no CERTIFICATE block")
    require("pem", len(cas) <= CAS_MAX, f"has at most {CAS_MAX} certificates")
    for ca in cas:
        soundness.check(ca, "CA certificate", now)
        soundness.check_may_issue(ca)
    return Material(_text(cas), _text(cas), soundness.facts(cas))


def _crls(text: str, now: datetime) -> Material:
    blocks = _blocks(text)
    _refuse_others(blocks, CRLS)
    require("pem", bool(blocks), "has no X509 CRL block")
    require("pem", len(blocks) <= CRLS_MAX, f"has at most {CRLS_MAX} CRLs")
    try:
        crls = _once(x509.load_pem_x509_crl(block.encode()) for _, block in blocks)
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("A CRL of the pem cannot be read.") from None
    clean = "".join(crl.public_bytes(Encoding.PEM).decode() for crl in crls)
    return Material(clean, clean, soundness.crl_facts(crls, now))


def _once(found: Iterable[T]) -> list[T]:
    """Each the first time that it stands there (`cat cert.pem fullchain.pem` has one twice)."""
    return list({one.fingerprint(hashes.SHA256()): one for one in found}.values())


def _read_certificate(label: str, block: str) -> x509.Certificate:
    try:
        content = base64.b64decode("".join(block.splitlines()[1:-1]), validate=True)
        if label == TRUSTED:
            content = content[: _first_element_bytes(content)]
        certificate = x509.load_der_x509_certificate(content)
        certificate.public_key()
        certificate.extensions  # noqa: B018 - parsed only when asked for
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("A certificate of the pem cannot be read.") from None
    return certificate


def _first_element_bytes(content: bytes) -> int:
    """The length of the first element of DER (X.690, 8.1.3). Raises ValueError."""
    if len(content) < 2:
        raise ValueError("too short")
    head, length = 2, content[1]
    if length & 0x80:
        head += length & 0x7F
        length = int.from_bytes(content[2:head])
    return head + length


def _blocks(text: str) -> list[tuple[str, str]]:
    """Label and text of each block; what stands between them is anybody's note."""
    found = [(one[1], one[0]) for one in _BLOCK.finditer(text)]
    for label, block in found:
        require("pem", block.isascii(), f"has characters that are not ASCII in a block: {label}")
    require("pem", bool(found), "has no PEM block (-----BEGIN ...-----)")
    require("pem", len(found) == text.count("-----BEGIN "), "has a block that does not end")
    return [one for one in found if one[0] not in _IGNORED]


def _blocks_of(text: str) -> list[bytes]:
    return [one[0].encode() for one in _BLOCK.finditer(text)]


def _refuse_others(blocks: Sequence[tuple[str, str]], expected: frozenset[str]) -> None:
    for place, (label, _) in enumerate(blocks, start=1):
        if label in expected:
            continue
        if label.endswith("PRIVATE KEY") and not KEYS & expected:
            raise Invalid("The pem has a private key, which does not belong there.", field="pem")
        raise Invalid(
            f"The pem has a block that does not belong there: {label[:40]} (block {place})."
        )


def _text(certificates: Sequence[x509.Certificate]) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)

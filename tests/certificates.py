# SPDX-License-Identifier: Apache-2.0
"""Certificates, keys and CRLs made on the fly, good ones and each kind of bad one."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Made(msgspec.Struct, frozen=True):
    certificate: x509.Certificate
    key: Any

    @property
    def public(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def secret(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()  # type: ignore[no-any-return]

    @property
    def pem(self) -> str:
        return self.public + self.secret

    def locked(self, passphrase: str) -> str:
        """The key under a passphrase."""
        return self.key.private_bytes(  # type: ignore[no-any-return]
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode())
        ).decode()


def made(
    name: str,
    by: Made | None = None,
    *,
    ca: bool = False,
    days: tuple[float, float] = (-1, 90),
    names: Sequence[str] | None = None,
    key: Any = None,
    digest: Any = None,
) -> Made:
    """A certificate for the name, issued by another one or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternatives = [x509.DNSName(one) for one in ([name] if names is None else names)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if alternatives and not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    signer = by.key if by else key
    return Made(builder.sign(signer, digest or hashes.SHA256()), key)


def authority(name: str = "Test CA", by: Made | None = None, **more: Any) -> Made:
    return made(name, by, ca=True, **more)


def crl(by: Made, *revoked: Made, days: tuple[float, float] = (-1, 30)) -> str:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(by.certificate.subject)
        .last_update(now + days[0] * DAY)
        .next_update(now + days[1] * DAY)
    )
    for one in revoked:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(one.certificate.serial_number)
            .revocation_date(now - DAY / 2)
            .build()
        )
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

# SPDX-License-Identifier: Apache-2.0
"""The internal certificate authority. Contexts of mutual TLS are made in `mtls.py`.

A certificate names its holder in one DNS name of the subject alternative names: an id, or an
office such as `controller`. Both ends of every connection check the other's chain and name.
Private keys leave this module only as the PEM text that is returned to the caller.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from colonnade.runtime.files import Reread
from colonnade.runtime.mtls import authorities_digest

CA_DAYS = 3650
BACKDATE = timedelta(minutes=5)  # clocks of amphorae may be a little behind


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate and its private key, as PEM text."""

    certificate: str
    private_key: str

    @property
    def pem(self) -> str:
        return self.certificate + self.private_key

    @classmethod
    def from_pem(cls, pem: str) -> "Identity":
        """Both parts from one text, the certificate first, as `pem` writes it."""
        cut = pem.index("-----BEGIN PRIVATE KEY")
        return cls(certificate=pem[:cut], private_key=pem[cut:])

    def __repr__(self) -> str:
        return "Identity(***)"


class Authority:
    """An internal CA: signs certificates with a name and a life in days.

    `trusted_pem`: the authorities that its clients should trust, itself among them. While one
    authority takes the place of another there are two."""

    def __init__(self, identity: Identity, trusted_pem: str = "") -> None:
        self.certificate_pem = identity.certificate
        self.trusted_pem = trusted_pem or identity.certificate
        self._certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
        key = serialization.load_pem_private_key(identity.private_key.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self.name = common_name(self._certificate.subject)

    @property
    def trusted(self) -> str:
        """A digest of the authorities to trust."""
        return authorities_digest(self.trusted_pem)

    @classmethod
    def new(cls) -> Identity:
        """The certificate and key of a fresh CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        # Two authorities may be trusted at once, and a certificate tells its issuer by this name.
        own = f"Colonnade internal CA {secrets.token_hex(4)}"
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, own)])
        certificate = (
            _builder(name, name, key.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return _identity(certificate, key)

    def issue(self, name: str, *, days: float) -> Identity:
        """A fresh key and a certificate for `name`, good as server and as client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(subject, self._certificate.subject, key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return _identity(certificate, key)


def present_authority(key_file: Path, trusted_file: Path) -> Callable[[], Authority]:
    """The authority that signs now, out of its file. Raises OSError or ValueError."""

    def load() -> Authority:
        return Authority(Identity.from_pem(key_file.read_text()), trusted_file.read_text())

    return Reread(load, key_file, trusted_file)


def expires_at(certificate_pem: str) -> datetime:
    return x509.load_pem_x509_certificate(certificate_pem.encode()).not_valid_after_utc


def is_half_gone(not_before: float, not_after: float, now: float) -> bool:
    """Whether more than half of a certificate's life is over: the time to renew it. Seconds."""
    return now - not_before >= (not_after - not_before) / 2


def common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        key_cert_sign=sign,
        crl_sign=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _identity(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Identity:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    return Identity(certificate=public.decode(), private_key=private.decode())

# SPDX-License-Identifier: Apache-2.0
"""Whether certificates and CRLs will do: in time, strong enough, issued by each other.

What a TLS library would refuse at each handshake is refused once, with the reason. Trust is not
decided here: that is the affair of who verifies.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from colonnade.domain.errors import Invalid
from colonnade.domain.secrets import Facts

RSA_BITS_MIN: Final = 2048
CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_BROKEN_HASHES: Final = (hashes.MD5, hashes.SHA1)


def check(one: x509.Certificate, noun: str, now: datetime) -> None:
    """Raises Invalid for one that is out of time or weak. `noun` is what to call it."""
    name = f"The {noun} ({_subject(one)})"
    if one.not_valid_after_utc <= now:
        raise Invalid(f"{name} has expired on {one.not_valid_after_utc:%Y-%m-%d}.")
    if one.not_valid_before_utc > now:
        raise Invalid(f"{name} is not valid before {one.not_valid_before_utc:%Y-%m-%d}.")
    key = one.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise Invalid(
            f"{name} has a weak key: RSA with {key.key_size} bits; at least 2048 are needed."
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in CURVES:
        raise Invalid(f"{name} has a key on the curve {key.curve.name}; use one of P-256 to P-521.")
    if isinstance(key, dsa.DSAPublicKey):
        raise Invalid(f"{name} has a DSA key, which TLS no longer knows.")
    # The signature of one that signed itself proves nothing to anybody.
    if isinstance(_hash(one), _BROKEN_HASHES) and one.issuer != one.subject:
        raise Invalid(f"{name} is signed with {type(_hash(one)).__name__}, which can be forged.")


def check_may_issue(one: x509.Certificate) -> None:
    try:
        may = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        may = one.version is x509.Version.v1 and one.issuer == one.subject
    if not may:
        raise Invalid(f"The certificate ({_subject(one)}) is not that of a CA.")


def check_order(chain: Sequence[x509.Certificate]) -> None:
    """Raises Invalid unless each was issued by the next."""
    for place, (issued, issuer) in enumerate(pairwise(chain), start=1):
        if not is_issued(issued, by=issuer):
            raise Invalid(
                f"The chain is broken or out of order: certificate {place} "
                f"({_subject(issued)}) was not issued by certificate {place + 1} "
                f"({_subject(issuer)})."
            )


def in_order(
    leaf: x509.Certificate, others: Sequence[x509.Certificate]
) -> Sequence[x509.Certificate]:
    """From the leaf up; those outside the chain come last, and `check_order` refuses them."""
    chain, left = [leaf], list(others)
    while found := next((one for one in left if is_issued(chain[-1], by=one)), None):
        chain.append(found)
        left.remove(found)
    return chain + left


def is_issued(issued: x509.Certificate, *, by: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def has_signed(ca: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
    except (TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False


def facts(certificates: Sequence[x509.Certificate]) -> Facts:
    first = certificates[0]
    return Facts(
        subject=_subject(first),
        issuer=first.issuer.rfc4514_string(),
        subject_alt_names=_names(first),
        serial_number=f"{first.serial_number:x}",
        fingerprint=first.fingerprint(hashes.SHA256()).hex(),
        key_type=_key(first),
        count=len(certificates),
        not_before=max(one.not_valid_before_utc for one in certificates),
        not_after=min(one.not_valid_after_utc for one in certificates),
    )


def crl_facts(crls: Sequence[x509.CertificateRevocationList], now: datetime) -> Facts:
    """Raises Invalid for a CRL that is out of time: OpenSSL then refuses every certificate."""
    ends = []
    for crl in crls:
        name = f"The CRL of {crl.issuer.rfc4514_string()}"
        if crl.next_update_utc is None:
            raise Invalid(f"{name} does not say when it expires (nextUpdate).")
        if crl.next_update_utc <= now:
            raise Invalid(f"{name} has expired on {crl.next_update_utc:%Y-%m-%d}.")
        if crl.last_update_utc > now:
            raise Invalid(f"{name} is not valid before {crl.last_update_utc:%Y-%m-%d}.")
        ends.append(crl.next_update_utc)
    return Facts(
        issuer=crls[0].issuer.rfc4514_string(),
        fingerprint=crls[0].fingerprint(hashes.SHA256()).hex(),
        count=len(crls),
        not_before=max(crl.last_update_utc for crl in crls),
        not_after=min(ends),
    )


def _subject(one: x509.Certificate) -> str:
    return one.subject.rfc4514_string() or "without a subject"


def _names(one: x509.Certificate) -> tuple[str, ...]:
    try:
        found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    kinds = (x509.DNSName, x509.IPAddress)
    names = (str(name.value) for name in found if isinstance(name, kinds))
    return tuple(name for name in names if name.isprintable())


def _key(one: x509.Certificate) -> str:
    key = one.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "Ed448" if isinstance(key, ed448.Ed448PublicKey) else "other"


def _hash(one: x509.Certificate) -> hashes.HashAlgorithm | None:
    try:
        return one.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None

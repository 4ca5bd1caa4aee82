# SPDX-License-Identifier: Apache-2.0
"""The contexts of mutual TLS 1.3, and what the certificate of the other end says.

Both ends of every connection check the other's chain and name. Certificates and authorities are
renewed while processes run, so whoever opens or takes connections asks for the context of now. It
knows nothing of how certificates are made and imports no cryptography library, so that the agent
stays small.
"""

import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from colonnade.runtime.files import Reread

_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL
Contexts = Callable[[], ssl.SSLContext]


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate of the other end. `name`: its one DNS name; `issuer`: the common name of
    the authority. Times are seconds since 1970."""

    name: str
    issuer: str
    not_before: float
    not_after: float


def server_context(identity_file: Path, ca_file: Path) -> ssl.SSLContext:
    """Serve with this identity, only to clients whose certificate our CA signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _load(context, identity_file, ca_file)


def client_context(identity_file: Path, ca_file: Path) -> ssl.SSLContext:
    """Connect with this identity. Pass the expected name as `server_hostname`: it is checked."""
    return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), identity_file, ca_file)


def server_contexts(identity_file: Path, ca_file: Path) -> Contexts:
    """`server_context` of the files as they are now. Raises OSError when it cannot be made."""
    return Reread(lambda: server_context(identity_file, ca_file), identity_file, ca_file)


def client_contexts(identity_file: Path, ca_file: Path) -> Contexts:
    """`client_context` of the files as they are now. Raises OSError when it cannot be made."""
    return Reread(lambda: client_context(identity_file, ca_file), identity_file, ca_file)


def contexts_for_late_clients(identity_file: Path, ca_file: Path) -> Contexts:
    """As `server_contexts`, and a certificate that has expired is let in: the caller of this must
    look at `Peer.not_after` and refuse such a client all but a way to renew it."""

    def make() -> ssl.SSLContext:
        context = server_context(identity_file, ca_file)
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        return context

    return Reread(make, identity_file, ca_file)


def authorities_digest(ca_pem: str) -> str:
    """What a set of trusted authorities is compared by, at both ends of the LB network."""
    return hashlib.sha256(ca_pem.encode()).hexdigest()


def peer_name(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> str:
    """The name in the certificate of the other end, "" when it has none."""
    found = peer_of(ssl_object)
    return found.name if found else ""


def peer_of(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> Peer | None:
    """What the certificate of the other end says, None when it has none."""
    certificate: dict[str, Any] | None = (
        ssl_object.getpeercert() if ssl_object is not None else None
    )
    if not certificate:
        return None
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    issuer = [pair for part in certificate.get("issuer", ()) for pair in part]
    return Peer(
        name=str(names[0]) if names else "",
        issuer=str(dict(issuer).get("commonName", "")),
        not_before=ssl.cert_time_to_seconds(certificate["notBefore"]),
        not_after=ssl.cert_time_to_seconds(certificate["notAfter"]),
    )


def _load(context: ssl.SSLContext, identity_file: Path, ca_file: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(ca_file)
    context.load_cert_chain(identity_file)
    return context

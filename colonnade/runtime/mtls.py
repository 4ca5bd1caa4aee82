# SPDX-License-Identifier: Apache-2.0
"""The contexts of mutual TLS 1.3, and the name of the other end.

Both ends of every connection check the other's chain and name. It knows nothing of how
certificates are made and imports no cryptography library, so that the agent stays small.
"""

import ssl
from pathlib import Path


def server_context(identity_file: Path, ca_file: Path) -> ssl.SSLContext:
    """Serve with this identity, only to clients whose certificate our CA signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _load(context, identity_file, ca_file)


def client_context(identity_file: Path, ca_file: Path) -> ssl.SSLContext:
    """Connect with this identity. Pass the expected name as `server_hostname`: it is checked."""
    return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), identity_file, ca_file)


def peer_name(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> str:
    """The name in the certificate of the other end, "" when it has none."""
    certificate = ssl_object.getpeercert() if ssl_object is not None else None
    names = certificate.get("subjectAltName", ()) if certificate else ()
    for pair in names:
        if pair[0] == "DNS":
            return str(pair[1])
    return ""


def _load(context: ssl.SSLContext, identity_file: Path, ca_file: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(ca_file)
    context.load_cert_chain(identity_file)
    return context

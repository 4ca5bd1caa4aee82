# SPDX-License-Identifier: Apache-2.0
"""The keys of an installation: made on the first start, found on every later one, and renewed.

Everything lies in `<state>/pki`, readable by its owner alone. Processes read a file again when it
was replaced, so certificates are renewed, and the authority is exchanged, while all runs. Each step
of an exchange may be repeated, and what is on file says which step is next.
"""

import enum
import secrets
import time
from pathlib import Path

from cryptography import x509

from colonnade.runtime import certificate_authority
from colonnade.runtime.certificate_authority import Authority, Identity
from colonnade.runtime.files import replace_file

# `metrics` is no process: it is who reads them from elsewhere, such as a Prometheus.
OFFICES = ("controller", "api", "supervisor", "health", "network", "notifier", "metrics")
OFFICE_DAYS = 90.0
CA_KEY, CA_NEXT_KEY, TRUSTED = "ca-key.pem", "ca-next-key.pem", "ca.pem"


def ensure_identities(pki: Path) -> None:
    """Make what is missing: the authority, the master key, and a certificate for each office.
    One that is past half of its life, or of an earlier authority, is issued anew."""
    pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (pki / CA_KEY).exists():
        fresh = Authority.new()
        replace_file(pki / TRUSTED, fresh.certificate)
        replace_file(pki / CA_KEY, fresh.pem)  # last: its presence says that both are there
    ensure_master_key(pki)
    authority = load_authority(pki)
    for office in OFFICES:
        file = pki / f"{office}.pem"
        if not file.exists() or _is_due(file, authority):
            replace_file(file, authority.issue(office, days=OFFICE_DAYS).pem)


def ensure_master_key(pki: Path) -> None:
    """What the secrets in the database are sealed with."""
    pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (pki / "master.key").exists():
        replace_file(pki / "master.key", secrets.token_hex(32) + "\n")


def load_authority(pki: Path) -> Authority:
    """The authority that signs now."""
    return certificate_authority.present_authority(pki / CA_KEY, pki / TRUSTED)()


class Exchange(enum.Enum):
    """How far the exchange of the authority has come."""

    NOT_BEGUN = enum.auto()
    BOTH_TRUSTED = enum.auto()  # the old one signs, until all trust the new one
    NEW_SIGNS = enum.auto()  # and both are trusted, until nothing of the old one is in use


def exchange(pki: Path) -> Exchange:
    if (pki / CA_NEXT_KEY).exists():
        return Exchange.BOTH_TRUSTED
    trusted = x509.load_pem_x509_certificates((pki / TRUSTED).read_bytes())
    return Exchange.NEW_SIGNS if len(trusted) > 1 else Exchange.NOT_BEGUN


def trust_next(pki: Path) -> None:
    """The first step: a new authority, trusted beside the present one."""
    if not (pki / CA_NEXT_KEY).exists():
        replace_file(pki / CA_NEXT_KEY, Authority.new().pem)
    fresh = Identity.from_pem((pki / CA_NEXT_KEY).read_text())
    trusted = (pki / TRUSTED).read_text()
    if fresh.certificate not in trusted:
        replace_file(pki / TRUSTED, trusted + fresh.certificate)


def sign_with_next(pki: Path) -> None:
    """The second step, when all trust both: the new authority signs from now on."""
    replace_file(pki / CA_KEY, (pki / CA_NEXT_KEY).read_text())
    ensure_identities(pki)
    (pki / CA_NEXT_KEY).unlink()


def trust_present_only(pki: Path) -> None:
    """The last step, when nothing of the old authority is in use."""
    replace_file(pki / TRUSTED, load_authority(pki).certificate_pem)


def _is_due(file: Path, authority: Authority) -> bool:
    found = x509.load_pem_x509_certificate(file.read_bytes())
    since, until = found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    return (
        certificate_authority.is_half_gone(since, until, time.time())
        or certificate_authority.common_name(found.issuer) != authority.name
    )

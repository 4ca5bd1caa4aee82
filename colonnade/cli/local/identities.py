# SPDX-License-Identifier: Apache-2.0
"""The keys of an installation: made on the first start, found on every later one.

Everything lies in `<state>/pki`, readable by its owner alone. An identity near its end is issued
anew at start, under the same authority, so amphorae go on trusting it.
"""

import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from colonnade.runtime import certificate_authority

OFFICES = ("controller", "api", "supervisor", "health", "network")
OFFICE_DAYS = 395.0  # renewed at start only, so longer than anything runs without one
RENEW_BEFORE = timedelta(days=180)


def ensure_identities(pki: Path) -> None:
    """Make what is missing: the authority, the master key, and a certificate for each office."""
    pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_file = pki / "ca-key.pem"
    if not authority_file.exists():
        fresh = certificate_authority.Authority.new()
        _write(pki / "ca.pem", fresh.certificate)
        _write(authority_file, fresh.pem)  # last: its presence says that both are there
    ensure_master_key(pki)
    authority = load_authority(pki)
    for office in OFFICES:
        file = pki / f"{office}.pem"
        if not file.exists() or _ends_soon(file):
            _write(file, authority.issue(office, days=OFFICE_DAYS).pem)


def ensure_master_key(pki: Path) -> None:
    """What the secrets in the database are sealed with."""
    pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (pki / "master.key").exists():
        _write(pki / "master.key", secrets.token_hex(32) + "\n")


def load_authority(pki: Path) -> certificate_authority.Authority:
    pem = (pki / "ca-key.pem").read_text()
    return certificate_authority.Authority(certificate_authority.Identity.from_pem(pem))


def _ends_soon(file: Path) -> bool:
    return certificate_authority.expires_at(file.read_text()) - datetime.now(UTC) < RENEW_BEFORE


def _write(file: Path, text: str) -> None:
    """All or nothing, and never readable by others, not even for a moment."""
    draft = file.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)

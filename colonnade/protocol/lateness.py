# SPDX-License-Identifier: Apache-2.0
"""What an amphora shows beside a certificate that has expired, to be given a new one.

After an outage that was longer than a certificate lives, the private key alone proves too little:
who found it in an old copy could come back with it. So the amphora proves that it has its heartbeat
key as well. The proof names the amphora and the time, and is of use only over a TLS connection that
was made with the private key. Pure.
"""

import hashlib
import hmac
from typing import Final

PROOF_AGE_S_MAX: Final = 300.0  # clocks may be this far apart
_PURPOSE: Final = b"colonnade-identity-1"
_TIME_DIGITS_MAX: Final = 12


def proof(key: bytes, amphora_id: str, at: float) -> str:
    """`at`: seconds since 1970."""
    moment = str(int(at))
    return f"{moment}.{_signature(key, amphora_id, moment)}"


def holds(told: str, key: bytes, amphora_id: str, now: float) -> bool:
    """Whether what was told is a proof by this key, for this amphora, made a short time ago."""
    moment, _, signature = told.partition(".")
    if not (moment.isascii() and moment.isdigit() and len(moment) <= _TIME_DIGITS_MAX):
        return False
    if abs(now - int(moment)) > PROOF_AGE_S_MAX:
        return False
    wanted = _signature(key, amphora_id, moment)
    return hmac.compare_digest(wanted.encode(), signature.encode())


def _signature(key: bytes, amphora_id: str, moment: str) -> str:
    message = b"\0".join((_PURPOSE, amphora_id.encode(), moment.encode()))
    return hmac.digest(key, message, hashlib.sha256).hex()

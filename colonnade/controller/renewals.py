# SPDX-License-Identifier: Apache-2.0
"""Renew the certificates of amphorae, in place: when one is due, and who may have it.

An amphora asks for a new certificate; the one that it presents shows what it has. Renewal is due
when half of the certificate's life is over, when another authority signs by now, or when the set of
trusted authorities has changed. After an outage that outlasts the certificate, the amphora must
also prove that it has its heartbeat key.
"""

import re
import time
from collections.abc import Callable
from typing import Final

from colonnade.domain.errors import Refused
from colonnade.domain.fleet import Amphora
from colonnade.domain.ids import AmphoraId
from colonnade.drivers.secrets.database import Seal
from colonnade.protocol import lateness
from colonnade.protocol.messages import Renewal
from colonnade.runtime.certificate_authority import Authority, Identity, is_half_gone
from colonnade.runtime.mtls import Peer
from colonnade.store.fleet import amphora_rows
from colonnade.store.postgres.database import Database

_DIGEST: Final = re.compile("[0-9a-f]{64}")


class Certificates:
    """`authority` is asked each time, because it may be exchanged while we run. `days`: the life
    of an amphora's certificate."""

    def __init__(self, authority: Callable[[], Authority], seal: Seal, days: float) -> None:
        self._authority = authority
        self._seal = seal
        self._days = days

    @property
    def authority(self) -> Authority:
        return self._authority()

    def issue(self, amphora_id: AmphoraId) -> Identity:
        return self.authority.issue(amphora_id, days=self._days)

    def is_behind(self, amphora: Amphora) -> bool:
        """Whether its last certificate is of another authority, or it trusts others than we do."""
        return self._is_other(amphora.issuer, amphora.authorities)

    async def seen(
        self, database: Database, amphora: Amphora, peer: Peer, authorities: str
    ) -> bool:
        """Note what the amphora has, told with each look for peers. True: it should renew that.
        Raises ValueError for what is no digest; "" is that of an agent which tells none."""
        if authorities and not _DIGEST.fullmatch(authorities):
            raise ValueError("authorities: this is no SHA-256 digest in hexadecimal digits")
        ends = amphora.cert_expiration.timestamp() if amphora.cert_expiration else None
        known = ends, amphora.issuer, amphora.authorities
        if known != (peer.not_after, peer.issuer, authorities):  # it asks each minute
            async with database.transaction() as connection:
                await amphora_rows.record_certificate(
                    connection, amphora.id, peer.not_after, peer.issuer, authorities
                )
        is_old = is_half_gone(peer.not_before, peer.not_after, time.time())
        return is_old or self._is_other(peer.issuer, authorities)

    async def renewal(
        self, database: Database, amphora_id: AmphoraId, peer: Peer, proof: str
    ) -> Renewal:
        """A new identity. Raises Refused for an expired certificate without a proof that holds."""
        if is_expired(peer):
            async with database.read() as connection:
                sealed = await amphora_rows.sealed_key(connection, amphora_id)
            key = self._seal.unseal(sealed, amphora_id) if sealed else b""
            if not key or not lateness.holds(proof, key, amphora_id, time.time()):
                raise Refused(
                    "the certificate has expired, and the proof beside it does not hold: "
                    "fail this amphora over if its clock is right"
                )
        return Renewal(identity=self.issue(amphora_id).pem, authorities=self.authority.trusted_pem)

    def _is_other(self, issuer: str, authorities: str) -> bool:
        authority = self.authority
        return (issuer, authorities) != (authority.name, authority.trusted)


def is_expired(peer: Peer) -> bool:
    return peer.not_after <= time.time()

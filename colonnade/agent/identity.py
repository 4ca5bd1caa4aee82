# SPDX-License-Identifier: Apache-2.0
"""The amphora's certificate, and the authorities it trusts: files that are renewed in place.

Invariant: the files are an identity and authorities that work together, or those of before; each
is seen whole. Connections that are open go on; the next one has what is new. Imports no
cryptography library: keys are made by the controller, as at birth.
"""

import logging
import ssl
import time
from pathlib import Path

from colonnade.agent.folder import write
from colonnade.protocol import lateness
from colonnade.protocol.messages import Renewal, Renewing
from colonnade.runtime import mtls

log = logging.getLogger(__name__)


class Unusable(Exception):
    """What was offered cannot take the place of what there is."""


class Identity:
    """`drive`: the folder of agent.pem, ca.pem and heartbeat.key. Raises OSError when they cannot
    be read."""

    def __init__(self, amphora_id: str, drive: Path) -> None:
        self._amphora_id = amphora_id
        self._drive = drive
        self.certificate, self._authorities = drive / "agent.pem", drive / "ca.pem"
        self.key = bytes.fromhex((drive / "heartbeat.key").read_text().strip())
        self.for_servers = mtls.client_contexts(self.certificate, self._authorities)
        self.for_clients = mtls.server_contexts(self.certificate, self._authorities)

    def authorities(self) -> str:
        """A digest of those that are trusted."""
        return mtls.authorities_digest(self._authorities.read_text())

    def request(self) -> Renewing:
        """What to ask for a new one with: good for a few minutes, and also after the end."""
        return Renewing(proof=lateness.proof(self.key, self._amphora_id, time.time()))

    def renew(self, renewal: Renewal) -> None:
        """Use what a controller gave. Raises Unusable, and then all is as before."""
        drafts = self._drive / "agent.pem.draft", self._drive / "ca.pem.draft"
        try:
            write(drafts[0], renewal.identity.encode())
            write(drafts[1], renewal.authorities.encode())
            mtls.client_context(*drafts)
            # The authorities first: a new identity is of no use to those who trust the old ones.
            drafts[1].replace(self._authorities)
            drafts[0].replace(self.certificate)
        except (OSError, ValueError) as error:
            # Without the text: it holds a private key.
            reason = error.reason if isinstance(error, ssl.SSLError) else type(error).__name__
            raise Unusable(f"the new certificate cannot be used: {reason}") from None
        finally:
            for draft in drafts:
                draft.unlink(missing_ok=True)
        log.info("certificate renewed")

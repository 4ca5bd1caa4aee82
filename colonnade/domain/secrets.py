# SPDX-License-Identifier: Apache-2.0
"""What is kept secret for TLS, what is known of it openly, and where a tree refers to it.

This module never has a secret's content. The facts are those of the first certificate or CRL, but
`not_after` is the earliest end of all of them.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType

import msgspec

from colonnade.domain.ids import ProjectId
from colonnade.domain.ordering import UPLOADED, Order
from colonnade.domain.tree import LoadBalancer

SecretId = NewType("SecretId", str)


class SecretType(StrEnum):
    CERTIFICATE = "CERTIFICATE"
    CA = "CA"
    CRL = "CRL"


# How long before its end a secret counts as expiring; a CRL lives for days only.
EXPIRING: Final[Mapping[SecretType, timedelta]] = {
    SecretType.CERTIFICATE: timedelta(days=30),
    SecretType.CA: timedelta(days=30),
    SecretType.CRL: timedelta(days=2),
}
READERS: Final = ("amphora", "octavia")  # providers; the others look up no reference
EXPIRING_OF_LIFE: Final = 4  # of a certificate that is ordered: a fourth of its life is left


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str
    fingerprint: str  # SHA-256, in hexadecimal digits
    not_before: datetime
    not_after: datetime
    subject: str = ""
    subject_alt_names: tuple[str, ...] = ()
    serial_number: str = ""
    key_type: str = ""  # "RSA 2048", "EC secp256r1"
    count: int = 1  # certificates or CRLs


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """`source`: where a key manager has what this is our copy of; `source_reason`: why it cannot
    be read there any more."""

    id: SecretId
    project_id: ProjectId
    type: SecretType
    facts: Facts
    name: str = ""
    order: Order = UPLOADED
    source: str = ""
    source_reason: str = ""
    created_at: datetime | None = None  # set as it is stored
    updated_at: datetime | None = None

    @property
    def place(self) -> str:
        """What its owner knows it by."""
        return self.source or self.id

    def is_expired(self, now: datetime) -> bool:
        return self.facts.not_after <= now

    def is_expiring(self, now: datetime) -> bool:
        """Soon, or already over."""
        facts = self.facts
        life = facts.not_after - facts.not_before
        ordered = bool(self.order.host_names)
        span = life / EXPIRING_OF_LIFE if ordered else EXPIRING[self.type]
        return facts.not_after - now < span


class Use(msgspec.Struct, frozen=True):
    """One reference in a tree. `path` is as objections have it: "listeners/<id>/<field>"."""

    path: str
    reference: str
    type: SecretType


OF_LISTENERS: Final[Mapping[str, SecretType]] = {
    "default_tls_container_ref": SecretType.CERTIFICATE,
    "sni_container_refs": SecretType.CERTIFICATE,
    "client_ca_tls_container_ref": SecretType.CA,
    "client_crl_container_ref": SecretType.CRL,
}
OF_POOLS: Final[Mapping[str, SecretType]] = {
    "tls_container_ref": SecretType.CERTIFICATE,
    "ca_tls_container_ref": SecretType.CA,
    "crl_container_ref": SecretType.CRL,
}
# A CRL counts only if the CA beside it has signed it.
PAIRS: Final = {
    "client_crl_container_ref": "client_ca_tls_container_ref",
    "crl_container_ref": "ca_tls_container_ref",
}


def uses(tree: LoadBalancer) -> Iterator[Use]:
    """Every reference of the tree, whether it is served or not."""
    for word, nodes, fields in (
        ("listeners", tree.listeners, OF_LISTENERS),
        ("pools", tree.pools, OF_POOLS),
    ):
        for node in nodes:
            for field, kind in fields.items():
                value = getattr(node, field)
                for reference in value if isinstance(value, tuple) else (value,):
                    if reference is not None:
                        yield Use(f"{word}/{node.id}/{field}", reference, kind)

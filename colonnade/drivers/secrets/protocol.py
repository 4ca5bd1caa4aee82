# SPDX-License-Identifier: Apache-2.0
"""What the controller asks of whoever keeps certificates, keys, CAs and CRLs, and what a reference
names.

A reference is the text that a listener or pool names a secret by. What comes back is PEM as
haproxy reads it, and is never logged, shown or kept longer than it takes to send it.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final, Protocol

import msgspec

from colonnade.domain.ids import ProjectId, derived_id, read_id

_ID: Final = r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
_REFERENCE: Final = re.compile(rf"(?:.*/secrets/)?({_ID})/?")
_ELSEWHERE: Final = re.compile(rf"(https?://[^?#\s]*)/v1/(secrets|containers)/({_ID})/?")


class Secrets(Protocol):
    async def fetch(self, project: ProjectId, references: Collection[str]) -> Mapping[str, str]:
        """PEM by reference, of this project's secrets. Raises Broken for one that is not there or
        does not open, Unavailable when waiting may help."""


class Source(msgspec.Struct, frozen=True):
    """Where a key manager has a secret. `root`: the URL before its version; `place`:
    "containers/<id>" or "secrets/<id>"."""

    root: str
    place: str


def source_of(reference: str) -> Source | None:
    """Where a key manager would have it; None: a reference of our own, or of nothing."""
    found = _ELSEWHERE.fullmatch(reference)
    return Source(found[1], f"{found[2]}/{read_id(found[3])}") if found else None


def id_of(reference: str) -> str | None:
    """The id of our own secret that a reference names: an id, with or without dashes, or any URL
    that ends in `/secrets/<id>`. None: it names nothing of ours."""
    found = _REFERENCE.fullmatch(reference)
    return read_id(found[1]) if found else None


def kept_ids(reference: str, project: ProjectId) -> tuple[str, ...]:
    """The ids under which we may have what a reference of this project names, the first that is
    there counts: our own secret, or our copy of a key manager's, which each project has for
    itself."""
    own, source = id_of(reference), source_of(reference)
    copy = derived_id(project, source.place) if source is not None else None
    return tuple(one for one in (own, copy) if one is not None)

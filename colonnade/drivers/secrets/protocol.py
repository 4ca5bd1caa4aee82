# SPDX-License-Identifier: Apache-2.0
"""What the controller asks of whoever keeps certificates, keys, CAs and CRLs.

A reference is the text that a listener or pool names a secret by. What comes back is PEM as
haproxy reads it, and is never logged, shown or kept longer than it takes to send it.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from colonnade.domain.ids import ProjectId, read_id

_ID: Final = r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
_REFERENCE: Final = re.compile(rf"(?:.*/secrets/)?({_ID})/?")


class Secrets(Protocol):
    async def fetch(self, project: ProjectId, references: Collection[str]) -> Mapping[str, str]:
        """PEM by reference, of this project's secrets. Raises Broken for one that is not there or
        does not open, Unavailable when waiting may help."""


def id_of(reference: str) -> str | None:
    """The id of our own secret that a reference names: an id, with or without dashes, or any URL
    that ends in `/secrets/<id>`. None: it names nothing of ours."""
    found = _REFERENCE.fullmatch(reference)
    return read_id(found[1]) if found else None

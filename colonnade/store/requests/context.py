# SPDX-License-Identifier: Apache-2.0
"""What surrounds a change of a tree: who asks for it, under which key, and whether in earnest.

Nothing here decides what the change is. Who does not care passes nothing: a change of nobody's,
without a key, in earnest.
"""

import msgspec

from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.difference import Difference


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A caller's name for one request, so that it may be repeated. `kind`: of the object that the
    request makes."""

    project: str
    word: str
    digest: bytes
    kind: str


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """`is_dry_run`: nothing is to be kept; the change ends in `DryRunResult`."""

    project: str = ""
    user: str = ""
    key: Key | None = None
    is_dry_run: bool = False


class DryRunResult(Exception):
    """How a change that is only tried ends, once all of it has been accepted.

    None: no tree at all, before or after."""

    def __init__(
        self,
        before: LoadBalancer | None,
        after: LoadBalancer | None,
        found: Difference,
        issues: tuple[str, ...],
    ) -> None:
        super().__init__("nothing is kept of what was tried")
        self.before = before
        self.after = after
        self.found = found
        self.issues = issues

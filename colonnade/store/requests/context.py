# SPDX-License-Identifier: Apache-2.0
"""The context of a request that changes a tree: who asks, under which key, and whether it is a dry
run.

Nothing here decides what the change is. The default is a change by no known caller, without a key,
that is no dry run.
"""

import msgspec


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A caller's name for one request, so that it may be repeated. `kind`: of the object that the
    request makes."""

    project: str
    word: str
    digest: bytes
    kind: str


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """`is_dry_run`: nothing is to be kept; the change ends in a `DryRunResult`. `seen`: references
    to a key manager's secrets that the caller was seen to read there; None: there is none."""

    project: str = ""
    user: str = ""
    key: Key | None = None
    is_dry_run: bool = False
    seen: frozenset[str] | None = None

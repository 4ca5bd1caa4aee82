# SPDX-License-Identifier: Apache-2.0
"""The result of a dry run: what the change would have done.

It is raised, not returned, so that the transaction around the change is undone by it.
"""

from colonnade.domain.tree import LoadBalancer
from colonnade.store.rows.difference import Difference


class DryRunResult(Exception):
    """None: no tree at all, before or after."""

    def __init__(
        self,
        before: LoadBalancer | None,
        after: LoadBalancer | None,
        found: Difference,
        issues: tuple[str, ...],
    ) -> None:
        super().__init__("nothing is kept of a dry run")
        self.before = before
        self.after = after
        self.found = found
        self.issues = issues

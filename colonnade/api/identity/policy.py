# SPDX-License-Identifier: Apache-2.0
"""Whose objects a caller may touch with a request, decided from the route's rule alone.

A rule is asked twice, before any object is known: may the caller do this to objects of any
project, and if not, to those of its own? The answer is a scope, and the store refuses whatever
lies outside of it. So no handler looks at roles, and nothing of a foreign object is read.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from colonnade.api.identity.caller import Caller
from colonnade.domain.errors import POLICY, Forbidden
from colonnade.domain.ids import ProjectId

PREFIX: Final = "os_load-balancer_api:"
PUBLIC: Final = "public"  # no token is asked for
KNOWN: Final = "known"  # any caller that is known may
NOBODYS: Final = ProjectId("")  # nothing is this project's
GET_ALL: Final = ":get_all"
GLOBAL: Final = "-global"


class Policy(Protocol):
    def allows(self, rule: str, caller: Caller, owner: ProjectId | None) -> bool:
        """May the caller do what the rule names to an object of that owner? None: to objects of
        any owner. A rule that nobody knows is allowed to the operator alone."""

    def has(self, rule: str) -> bool:
        """Is there such a rule?"""


def scope(policy: Policy, rules: Sequence[str], caller: Caller) -> ProjectId | None:
    """The project whose objects the caller may touch where all these rules hold; None: any.

    Raises Forbidden."""
    deciding = [rule for rule in rules if rule not in (PUBLIC, KNOWN)]
    if not deciding:
        return NOBODYS  # these routes concern no object, so no object may be reached by mistake
    own: ProjectId | None = None
    for rule in deciding:
        if policy.allows(_widest(policy, rule), caller, None):
            continue
        if caller.project is None or not policy.allows(rule, caller, caller.project):
            raise Forbidden(POLICY)
        own = caller.project
    return own


def _widest(policy: Policy, rule: str) -> str:
    """Lists of all projects have a rule of their own."""
    wide = rule + GLOBAL
    return wide if rule.endswith(GET_ALL) and policy.has(wide) else rule

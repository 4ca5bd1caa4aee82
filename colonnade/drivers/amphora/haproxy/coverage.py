# SPDX-License-Identifier: Apache-2.0
"""Whether a listener's L7 policies answer every request, so that it needs no default pool.

True only where that is certain: one policy whose rules hold for every request, or two of one rule
each, the one the opposite of the other. Pure; knows nothing of how policies are rendered.
"""

from collections.abc import Iterable
from typing import Final

from colonnade.domain.l7 import L7Policy, L7Rule
from colonnade.domain.vocabulary import CompareType, L7Action, L7RuleType

ENDS: Final = frozenset(L7Action) - {L7Action.RATE_LIMIT, L7Action.REWRITE}
ANYTHING: Final = frozenset({".*", "^.*", ".*$", "^.*$", "^", "$"})
# Every path begins with a slash.
ANY_PATH: Final = frozenset({"/", "^/", "^/.*", "^/.*$", "/.*", "/.*$"})


def answers_all(policies: Iterable[L7Policy]) -> bool:
    """The policies are those of one listener, in force or not."""
    alone = set()
    for policy in policies:
        rules = [rule for rule in policy.rules if rule.admin_state_up]
        if not policy.admin_state_up or policy.action not in ENDS or not rules:
            continue
        if all(_holds_always(rule) for rule in rules):
            return True
        if len(rules) == 1:
            alone.add(_condition(rules[0]))
    return any((*condition, not is_inverted) in alone for *condition, is_inverted in alone)


def _condition(rule: L7Rule) -> tuple[L7RuleType, CompareType, str | None, str, bool]:
    return rule.type, rule.compare_type, rule.key, rule.value, rule.invert


def _holds_always(rule: L7Rule) -> bool:
    if rule.invert or rule.type is not L7RuleType.PATH:
        return False
    if rule.compare_type is CompareType.REGEX:
        return rule.value in ANYTHING | ANY_PATH
    return (
        rule.compare_type in (CompareType.STARTS_WITH, CompareType.CONTAINS) and rule.value == "/"
    )

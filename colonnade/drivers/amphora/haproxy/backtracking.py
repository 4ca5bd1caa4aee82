# SPDX-License-Identifier: Apache-2.0
"""How many ways a backtracking engine may have to try before it knows that a text does not match.

An upper bound of the right order, from the parsed expression. What cannot backtrack does not
multiply: a repeat of characters none of which may follow it ends at one place only, alternatives
that begin differently exclude each other, and behind the last thing that can fail nothing is tried
again. A repeat of what itself can match in several ways is taken as the worst there is. Pure;
knows no engine's syntax but Python's, which its caller has compared with the engine's.
"""

import importlib
from collections.abc import Sequence
from functools import reduce
from typing import Any, Final

import msgspec

_parser: Final[Any] = importlib.import_module("re._parser")
_code: Final[Any] = importlib.import_module("re._constants")

ALL: Final = (1 << 128) - 1  # of ASCII
NONE: Final = 0  # nothing may follow: the end
DIGITS: Final = sum(1 << c for c in b"0123456789")
WORDS: Final = DIGITS | sum(1 << c for c in range(128) if chr(c).isalpha()) | 1 << ord("_")
SPACES: Final = sum(1 << c for c in b" \t\n\r\f\v")
REFERENCE: Final = 64  # a reference to a group compares many characters in one step


class Limits(msgspec.Struct, frozen=True):
    subject: int  # characters of the text that is tried
    steps: int  # after which the engine gives up


class _Rest(msgspec.Struct, frozen=True):
    """What follows a part: how much trying it costs, with which characters it may begin, whether
    it can fail at all, and the text that it must begin with."""

    cost: int
    first: int
    may_fail: bool
    prefix: str = ""


_END: Final = _Rest(1, NONE, False)


def ways(text: str, limits: Limits) -> int:
    """From one character of the text on; at most `limits.steps`. Raises re.error."""
    return _rest(text, limits).cost


def ways_from_anywhere(text: str, limits: Limits) -> int:
    """From all characters of the text, half of which are behind the middle. Raises re.error."""
    found = _rest(text, limits)
    return found.cost * max(1, limits.subject // 2 // _period(found.prefix))


def _rest(text: str, limits: Limits) -> _Rest:
    return _Count(limits).rest(_parser.parse(text), _END)


def _period(prefix: str) -> int:
    """How far apart a text can hold this one again and again: "abab" every second place."""
    whole = len(prefix)
    return next((n for n in range(1, whole) if prefix.startswith(prefix[n:])), max(1, whole))


class _Count:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def rest(self, parts: Sequence[Any], after: _Rest) -> _Rest:
        """The parts with what is after them, as one rest."""
        return reduce(lambda found, part: self._before(part, found), reversed(parts), after)

    def _before(self, part: Any, after: _Rest) -> _Rest:
        kind, about = part
        mask = _characters(part)
        if kind is _code.LITERAL:
            return _Rest(after.cost, mask or NONE, True, chr(about).lower() + after.prefix)
        if mask is not None:
            return _Rest(after.cost, mask, True)
        if kind is _code.SUBPATTERN:
            return self.rest(about[3], after)
        if kind is _code.BRANCH:
            return self._branch([self.rest(one, after) for one in about[1]])
        if kind in (_code.MAX_REPEAT, _code.MIN_REPEAT):
            return self._repeat(about[0], int(about[1]), about[2], after)
        if kind is _code.AT:
            is_end = about in (_code.AT_END, _code.AT_END_STRING)
            return _Rest(after.cost, NONE if is_end else ALL, True)
        if kind in (_code.ASSERT, _code.ASSERT_NOT):
            return _Rest(self._cut(self.rest(about[1], _END).cost + after.cost), ALL, True)
        return _Rest(
            self._cut(REFERENCE * after.cost), ALL, True
        )  # a reference to a group, or an operation that is not known here

    def _branch(self, found: Sequence[_Rest]) -> _Rest:
        first = reduce(int.__or__, (one.first for one in found))
        # A part that can match the empty text overlaps with every other.
        apart = _are_apart([x.first for x in found]) and all(one.may_fail for one in found)
        costs = [one.cost for one in found]
        cost = max(costs) + len(costs) - 1 if apart else sum(costs)
        return _Rest(self._cut(cost), first, all(one.may_fail for one in found))

    def _repeat(self, least: int, most: int, inner: Sequence[Any], after: _Rest) -> _Rest:
        times = min(most, self._limits.subject)
        begins = self.rest(inner, _Rest(1, NONE, True)).first
        first = begins if least > 0 else begins | after.first
        may_fail = least > 0 or after.may_fail
        if times == 0:
            return after
        one = self._matches(inner, begins | after.first)
        if one > 1 or _may_be_empty(inner):
            if times > 1:
                # Each round in several ways: as many as the rounds raise them to.
                spread = min(max(one, 2) ** min(times, 30), self._limits.steps)
                return _Rest(self._cut(spread * after.cost), first, may_fail)
            return _Rest(self._cut((one + 1) * after.cost), first, may_fail)
        if not after.may_fail:
            return _Rest(after.cost, first, may_fail)  # the whole text has matched here
        if begins & after.first == 0 and _is_characters(inner):
            return _Rest(self._cut(times + after.cost), first, may_fail)
        # What follows is tried behind each round, and goes on where its first letters are there.
        passes = max(1, times // _period(after.prefix)) + (least == 0 and times == 1)
        # Rounds that look around or back may see all of the text each; others share it.
        each = self.rest(inner, _Rest(1, ALL, True)).cost if _looks(inner) else 1
        return _Rest(self._cut(times * each + passes * after.cost), first, may_fail)

    def _matches(self, parts: Sequence[Any], follows: int) -> int:
        """In how many ways the parts can match from one place on, when one of `follows` comes
        behind them."""
        found, first = 1, follows
        for part in reversed(parts):
            found = self._cut(found * self._matches_one(part, first))
            first = self.rest([part], _Rest(1, first, True)).first
        return found

    def _matches_one(self, part: Any, follows: int) -> int:
        kind, about = part
        if kind is _code.SUBPATTERN:
            return self._matches(about[3], follows)
        if kind is _code.BRANCH:
            firsts = [self.rest(one, _Rest(1, follows, True)).first for one in about[1]]
            each = [self._matches(one, follows) for one in about[1]]
            return max(each) if _are_apart(firsts) else sum(each)
        if kind in (_code.MAX_REPEAT, _code.MIN_REPEAT):
            least, most, inner = about
            times = min(int(most), self._limits.subject)
            begins = self.rest(inner, _Rest(1, NONE, True)).first
            one = self._matches(inner, begins | follows)
            if one > 1 or _may_be_empty(inner):
                return self._cut(int(max(one, 2) ** min(times, 30)))
            if int(least) == times:
                return 1
            return times + 1 if begins & follows else 1
        return 1

    def _cut(self, number: int) -> int:
        return min(number, self._limits.steps)


def _are_apart(masks: Sequence[int]) -> bool:
    """Whether no character is in two of the sets."""
    return sum(one.bit_count() for one in masks) == reduce(int.__or__, masks).bit_count()


def _is_characters(parts: Sequence[Any]) -> bool:
    """Whether it is one character of a set, and nothing else."""
    return len(parts) == 1 and _characters(parts[0]) is not None


def _looks(parts: Sequence[Any]) -> bool:
    text = str(parts)
    return any(word in text for word in ("ASSERT", "GROUPREF"))


def _may_be_empty(parts: Sequence[Any]) -> bool:
    if hasattr(parts, "getwidth"):
        return bool(parts.getwidth()[0] == 0)
    return False


def _characters(part: Any) -> int | None:
    """The set of a part that is one character, in both cases; None for any other part."""
    kind, about = part
    if kind is _code.LITERAL:
        return _both_cases(1 << about if about < 128 else 0)
    if kind is _code.NOT_LITERAL:
        return ALL & ~(1 << int(about))
    if kind is _code.ANY:
        return ALL
    if kind is _code.CATEGORY:
        return _category(about)
    if kind is not _code.IN:
        return None
    found, negated = 0, False
    for what, value in about:
        if what is _code.NEGATE:
            negated = True
        elif what is _code.LITERAL:
            found |= 1 << value if value < 128 else 0
        elif what is _code.RANGE:
            found |= sum(1 << c for c in range(value[0], min(value[1], 127) + 1))
        else:
            found |= _category(value)
    return ALL & ~found if negated else _both_cases(found)


def _category(name: Any) -> int:
    known = {
        _code.CATEGORY_DIGIT: DIGITS,
        _code.CATEGORY_WORD: WORDS,
        _code.CATEGORY_SPACE: SPACES,
        _code.CATEGORY_NOT_DIGIT: ALL & ~DIGITS,
        _code.CATEGORY_NOT_WORD: ALL & ~WORDS,
        _code.CATEGORY_NOT_SPACE: ALL & ~SPACES,
    }
    return known.get(name, ALL)


def _both_cases(mask: int) -> int:
    """Rules may ignore case, and expressions may say so themselves."""
    upper, lower = sum(1 << c for c in range(65, 91)), sum(1 << c for c in range(97, 123))
    return mask | (mask & upper) << 32 | (mask & lower) >> 32

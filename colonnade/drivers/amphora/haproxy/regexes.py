# SPDX-License-Identifier: Apache-2.0
"""Regular expressions that haproxy's engine reads as a user who knows Python's means them.

haproxy is built with PCRE or PCRE2, which of the two is not known here. So only what both and
Python's `re` share is let through, and only expressions that stay far from PCRE's limit of
64 kB when compiled. What trying one can take at most is told too: haproxy ends itself when one
request holds it up for two seconds, and any client can send the request that does. Pure; knows
no rule.
"""

import re
from functools import lru_cache
from typing import Final

from colonnade.domain.errors import Invalid, require

COMPILED_BYTES_MAX: Final = 20_000
CLASS_BYTES: Final = 40  # a set of characters: a bitmap of 32 bytes
GROUP_BYTES: Final = 12
SUBJECT_MAX: Final = 1024  # characters of a request that an expression is tried on
STEPS_MAX: Final = 10_000_000  # from one character on; then PCRE gives up
REFERENCE_STEPS: Final = 64  # a reference to a group compares many characters in one step
ESCAPES: Final = frozenset("AbBdDsSwWfnrt0123456789.^$*+?{}[]()|\\/-_ !\"#%&',:;<=>@`~")
GROUPS: Final = re.compile(
    r"\?(?:[:=!>]|<[=!]|P<[A-Za-z_]\w{0,30}>|P=\w+\)|[ims]+\)|[ims]*:)", re.ASCII
)
REPEAT: Final = re.compile(r"\{(\d*)(,?)(\d*)\}", re.ASCII)
# Nothing but these is tried from the first character alone.
ANCHOR: Final = re.compile(r"(?:\(\?[ims]+\))*(?:\^(?![*?{])|\\A|\.\*)", re.ASCII)
HEX: Final = re.compile(r"x[0-9a-fA-F]{2}", re.ASCII)


def check(text: str) -> None:
    """Raises Invalid, saying which part will not do."""
    steps(text)


@lru_cache(maxsize=10_000)
def steps(text: str) -> int:
    """As `check`; and how many steps PCRE could take to find that a text does not match: more
    than any does, and of the right order. Asked at every change of a tree."""
    require("value", text.isascii(), "of a regular expression must be ASCII")
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise Invalid(f"value is not a regular expression: {error}", field="value") from error
    return _Reader(text).read()


class _Reader:
    """Walks over a text that Python takes, and adds up what it costs to compile."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._costs = [0]  # of the groups that are open, outermost first
        self._last = 0  # of what a repeat would repeat
        self._looks_behind = self._refers_back = False
        self._ways = [_Ways()]  # of the same groups
        self._repeated = False  # what was read last
        self._is_anchored = ANCHOR.match(text) is not None

    def read(self) -> int:
        """The most steps that it could take."""
        while self._at < len(self._text):
            self._step(self._text[self._at])
            total = sum(self._costs)
            self._refuse(total > COMPILED_BYTES_MAX, "repeats too much")
        both = self._looks_behind and self._refers_back
        self._refuse(both, "looks behind and refers back to a group")
        from_first_alone = self._is_anchored and not self._refers_back
        return self._ways[0].total * (1 if from_first_alone else SUBJECT_MAX // 2)

    def _step(self, character: str) -> None:
        was_repeated, self._repeated = self._repeated, False
        match character:
            case "\\":
                refers_back = self._text[self._at + 1] in "123456789"
                self._escape(self._at + 1)
                self._add(3, REFERENCE_STEPS if refers_back else 1)
            case "[":
                self._set()
            case "(":
                self._open()
            case ")":
                cost = self._costs.pop() + GROUP_BYTES
                self._at += 1
                self._add(cost, self._ways.pop().total)
            case "|":
                self._at += 1
                self._add(3)
                self._ways[-1].other_branch()
                if len(self._ways) == 1:
                    self._is_anchored &= ANCHOR.match(self._text, self._at) is not None
            case "{" if (found := REPEAT.match(self._text, self._at)) is not None:
                self._repeat(found)
            case "*" | "+" | "?":
                self._costs[-1] += self._last + 4
                self._last = 0
                self._at += 1
                if not was_repeated:  # else it says how to repeat
                    self._ways[-1].repeat(1 if character == "?" else None)
                self._repeated = True
            case _:
                self._at += 1
                self._add(3)

    def _add(self, cost: int, ways: int = 1) -> None:
        self._last = cost
        self._costs[-1] += cost
        self._ways[-1].add(ways)

    def _escape(self, at: int) -> None:
        """One escape sequence; `at` is behind the backslash."""
        found = HEX.match(self._text, at)
        if found is not None:
            self._at = found.end()
            return
        character = self._text[at]
        known = character in ESCAPES
        self._refuse(not known, f"has \\{character}, which does not mean the same everywhere")
        if character.isdigit() and character != "0":
            self._refers_back = True
        self._at = at + 1

    def _set(self) -> None:
        at = self._at + 1
        if self._text.startswith("^", at):
            at += 1
        first = at
        while self._text[at] != "]" or at == first:
            if self._text[at] == "\\":
                self._escape(at + 1)
                at = self._at
                continue
            odd = self._text[at : at + 2] in ("[:", "[.", "[=")
            self._refuse(odd, f"has {self._text[at : at + 2]} in a set")
            at += 1
        self._at = at + 1
        self._add(CLASS_BYTES)

    def _open(self) -> None:
        self._at += 1
        if self._text.startswith("?", self._at):
            found = GROUPS.match(self._text, self._at)
            self._refuse(found is None, f"has ({self._text[self._at : self._at + 3]}")
            assert found is not None
            self._looks_behind |= found.group().startswith("?<")
            self._refers_back |= found.group().startswith("?P=")
            self._at = found.end()
            if found.group().endswith(")"):
                refers_back = found.group().startswith("?P=")
                self._add(GROUP_BYTES, REFERENCE_STEPS if refers_back else 1)
                return
        self._costs.append(0)
        self._ways.append(_Ways())

    def _repeat(self, found: re.Match[str]) -> None:
        least, comma, most = found.groups()
        self._refuse(least == "" and comma != "", "has {,n}: write {0,n}")
        if least == "":
            self._at += 1  # `{}` is two plain characters
            self._add(3)
            return
        times = int(most or least)
        self._refuse(times > COMPILED_BYTES_MAX, "repeats too much")
        self._costs[-1] += self._last * times + 8
        self._last = self._last * times + 8
        self._at = found.end()
        self._ways[-1].repeat(None if comma and most == "" else times)
        self._repeated = True

    def _refuse(self, is_bad: bool, why: str) -> None:
        require("value", not is_bad, f"is a regular expression that {why}")


class _Ways:
    """In how many ways a group could take a text from one character on: what is tried in turn
    when what follows does not match."""

    def __init__(self) -> None:
        self._done = 0  # of the branches that were read
        self._branch = self._before_last = self._last = 1

    @property
    def total(self) -> int:
        return min(STEPS_MAX, self._done + self._branch)

    def add(self, ways: int) -> None:
        self._before_last, self._last = self._branch, ways
        self._branch = min(STEPS_MAX, self._branch * ways)

    def other_branch(self) -> None:
        self._done = self.total
        self._branch = self._before_last = self._last = 1

    def repeat(self, most: int | None) -> None:
        """What was added last; None: any number of times."""
        if most == 1:
            ways = self._last + 1
        elif self._last == 1:
            ways = SUBJECT_MAX if most is None else max(1, min(most, SUBJECT_MAX))
        else:
            times = SUBJECT_MAX if most is None else min(most, 30)  # 2**30 is above all
            ways = min(STEPS_MAX, self._last**times)
        self._branch, self._last = min(STEPS_MAX, self._before_last * ways), ways

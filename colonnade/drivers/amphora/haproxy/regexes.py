# SPDX-License-Identifier: Apache-2.0
"""Regular expressions that haproxy's engine reads as a user who knows Python's means them.

haproxy is built with PCRE or PCRE2, which of the two is not known here. So only what both and
Python's `re` share is let through, and only expressions that stay far from PCRE's limit of
64 kB when compiled. What trying one can take at most is told too: haproxy ends itself when one
request holds it up for two seconds, and any client can send the request that does. Pure; knows
no rule.
"""

import re
import warnings
from functools import lru_cache
from typing import Final

from colonnade.domain.errors import Invalid, require
from colonnade.drivers.amphora.haproxy import backtracking

COMPILED_BYTES_MAX: Final = 20_000
CLASS_BYTES: Final = 40  # a set of characters: a bitmap of 32 bytes
GROUP_BYTES: Final = 12
SUBJECT_MAX: Final = 1024  # characters of a request that an expression is tried on
STEPS_MAX: Final = 10_000_000  # from one character on; then PCRE gives up
LIMITS: Final = backtracking.Limits(subject=SUBJECT_MAX, steps=STEPS_MAX)
ESCAPES: Final = frozenset("AbBdDsSwWfnrt0123456789.^$*+?{}[]()|\\/-_ !\"#%&',:;<=>@`~")
GROUPS: Final = re.compile(
    r"\?(?:[:=!>]|<[=!]|P<[A-Za-z_]\w{0,30}>|P=\w+\)|[ims]+\)|[ims]*:)", re.ASCII
)
REPEAT: Final = re.compile(r"\{(\d*)(,?)(\d*)\}", re.ASCII)
# An expression that begins with one of these is tried from the first character only.
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about sets, which are refused below
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
        count = backtracking.ways if from_first_alone else backtracking.ways_from_anywhere
        return count(self._text, LIMITS)

    def _step(self, character: str) -> None:
        match character:
            case "\\":
                self._escape(self._at + 1)
                self._add(3)
            case "[":
                self._set()
            case "(":
                self._open()
            case ")":
                cost = self._costs.pop() + GROUP_BYTES
                self._at += 1
                self._add(cost)
            case "|":
                self._at += 1
                self._add(3)
                if len(self._costs) == 1:
                    self._is_anchored &= ANCHOR.match(self._text, self._at) is not None
            case "{" if (found := REPEAT.match(self._text, self._at)) is not None:
                self._repeat(found)
            case "*" | "+" | "?":
                self._costs[-1] += self._last + 4
                self._last = 0
                self._at += 1
            case _:
                self._at += 1
                self._add(3)

    def _add(self, cost: int) -> None:
        self._last = cost
        self._costs[-1] += cost

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
                self._add(GROUP_BYTES)
                return
        self._costs.append(0)

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

    def _refuse(self, is_bad: bool, why: str) -> None:
        require("value", not is_bad, f"is a regular expression that {why}")

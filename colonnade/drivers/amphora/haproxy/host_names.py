# SPDX-License-Identifier: Apache-2.0
"""Names of hosts in L7 rules, as they can stand in a request's `Host`.

Pure. A port and a dot at the end mean nothing there, and a name in another script is sent as
Punycode by browsers, and as it is by others: a rule's value holds for all of these (RFC 9110, 7.2;
RFC 5890).
"""

import re
from typing import Final

from colonnade.domain.vocabulary import CompareType

_PORT: Final = re.compile(r"(?P<name>\[[^\]]*\]|[^:\[\]]*):[0-9]{1,5}")
_NEVER: Final = re.compile(r"[\s/?#@*]")
# Where a value is not whole labels, what is cut of one cannot be told as Punycode.
_OPEN_LEFT: Final = frozenset({CompareType.ENDS_WITH, CompareType.CONTAINS})
_OPEN_RIGHT: Final = frozenset({CompareType.STARTS_WITH, CompareType.CONTAINS})


def forms(value: str, how: CompareType) -> tuple[str, ...]:
    """The texts to compare a host with, any of which may hold."""
    text = _plain(value, how)
    coded = _coded(text, how)
    return (text,) if coded in (None, text) else (text, str(coded))


def never(value: str, how: CompareType) -> str:
    """Why no request's host can be like this, "" when one can."""
    text = _plain(value, how)
    if not text.strip("."):
        return "a host has a name beside its port"
    found = _NEVER.search(text)
    if found is not None:
        star = "; for all names of a domain use ENDS_WITH and .example.org" if "*" in text else ""
        return f"the name of a host has no '{found.group()}'{star}"
    if _coded(text, how) is None:
        return "a part of a name that is not ASCII is not sent so: give whole labels, or Punycode"
    return ""


def _plain(value: str, how: CompareType) -> str:
    with_port = _PORT.fullmatch(value)
    text = with_port["name"] if with_port is not None else value
    return text if how in _OPEN_RIGHT else text.removesuffix(".")


def _coded(text: str, how: CompareType) -> str | None:
    """In Punycode, label by label; None where that cannot be."""
    labels = text.split(".")
    if how in _OPEN_LEFT and not labels[0].isascii():
        return None
    if how in _OPEN_RIGHT and not labels[-1].isascii():
        return None
    try:
        return ".".join(x if x.isascii() else x.encode("idna").decode() for x in labels)
    except UnicodeError:
        return None

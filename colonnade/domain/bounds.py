# SPDX-License-Identifier: Apache-2.0
"""The limits in the annotations of attributes, held by values that are made in Python.

The decoder checks the limits of what it decodes. A value that code makes or changes is checked
here: numbers, and the length of texts. Patterns of texts are checked by the decoder alone. Rules
about several attributes are no limits, and stand with their noun.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NoReturn

import msgspec
from msgspec import Meta

from colonnade.domain.attributes import Described, described
from colonnade.domain.errors import Invalid


@cache
def limits_of(kind: type[msgspec.Struct]) -> Callable[[msgspec.Struct], None]:
    """What raises Invalid for the first attribute of a value that is out of its limits: one
    function of plain comparisons for each class. An edit of a pool of a thousand members makes all
    of them anew, and a walk over descriptions would take several times as long."""
    names: dict[str, Any] = {"refuse": _refuse}
    lines = ["def check(value):", "    pass"]
    for one in described(kind).values():
        for limit in one.limits if not one.within else ():
            holds = " and ".join(_holds(one, limit))
            if holds:
                lines.append(f"    if {' and '.join((*_guards(one), f'not ({holds})'))}:")
                lines.append(f"        refuse({one.name!r}, {_rule(one, limit)!r})")
    exec("\n".join(lines), names)  # noqa: S102 (made of names and numbers in our own classes)
    check: Callable[[msgspec.Struct], None] = names["check"]
    return check


def _guards(one: Described) -> Iterator[str]:
    if one.is_list:
        yield f"value.{one.name}"
    elif one.is_nullable:
        yield f"value.{one.name} is not None"


def _holds(one: Described, limit: Meta) -> Iterator[str]:
    """What must be true, as Python. The limits of a list are those of its items."""
    value = f"value.{one.name}"
    longest = f"max(map(len, {value}))" if one.is_list else f"len({value})"
    if limit.ge is not None:
        yield f"{value} >= {limit.ge}"
    if limit.le is not None:
        yield f"{value} <= {limit.le}"
    if limit.max_length is not None:
        yield f"{longest} <= {limit.max_length}"


def _rule(one: Described, limit: Meta) -> str:
    if limit.ge is not None and limit.le is not None:
        return f"must be between {limit.ge} and {limit.le}"
    if limit.ge is not None:
        return f"must be {limit.ge} or more"
    return f"{'are' if one.is_list else 'is'} at most {limit.max_length} long"


def _refuse(field: str, rule: str) -> NoReturn:
    raise Invalid(f"{field} {rule}", field=field)

# SPDX-License-Identifier: Apache-2.0
"""What a pure function says of a value, found once for each value and kept as long as that lives.

A tree that was edited shares all that was not: what is asked of each pool and listener is then
found anew only for those that are new. Values are told apart by being the same object, for to
compare them costs more than most functions. Knows no function.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar
from weakref import ref

N = TypeVar("N")
R = TypeVar("R")


def once_each(function: Callable[[N], R]) -> Callable[[N], R]:
    """For functions of one frozen value that can be referred to weakly."""
    found: dict[int, tuple[ref[Any], R]] = {}

    @wraps(function)
    def known(value: N) -> R:
        key = id(value)
        there = found.get(key)
        if there is None:
            result = function(value)
            found[key] = there = (ref(value, lambda _: found.pop(key, None)), result)
        return there[1]

    return known


def once_each_all(function: Callable[[N], Iterator[R]]) -> Callable[[N], tuple[R, ...]]:
    """The same for functions that yield."""
    return once_each(wraps(function)(lambda value: tuple(function(value))))

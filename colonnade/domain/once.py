# SPDX-License-Identifier: Apache-2.0
"""Results of a pure function, computed once for each value and kept as long as the value lives.

An edited tree shares the objects that the edit left alone, so only results for changed pools and
listeners are computed again. Values are told apart by identity: comparing them would cost more than
most functions. This module knows no particular function.
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

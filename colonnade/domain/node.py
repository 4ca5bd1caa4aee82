# SPDX-License-Identifier: Apache-2.0
"""What every object of a tree has, and how tuples of them are searched and changed.

Values are checked as they are made and never change, so code that holds one may trust it; not
even `replace` can make a bad one.
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from colonnade.domain import limits
from colonnade.domain.errors import NotFound, require


class Node(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str = ""
    admin_state_up: bool = True
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require("name", len(self.name) <= limits.TEXT_MAX, "is at most 255 long")
        if self.tags:
            require("tags", len(self.tags) <= limits.TAGS_MAX, f"are at most {limits.TAGS_MAX}")
            longest = max(map(len, self.tags))
            require("tags", longest <= limits.TEXT_MAX, "are at most 255 long")


_N = TypeVar("_N", bound=Node)
_T = TypeVar("_T")


def put(nodes: tuple[_N, ...], node: _N) -> tuple[_N, ...]:
    """The nodes with this one in the place of the one that has its id, or at the end."""
    there = [place for place, other in enumerate(nodes) if other.id == node.id]
    if not there:
        return (*nodes, node)
    return (*nodes[: there[0]], node, *nodes[there[0] + 1 :])


def only(noun: str, wanted: str, found: Iterator[_T]) -> _T:
    for one in found:
        return one
    raise NotFound(f"{noun} {wanted} not found.")

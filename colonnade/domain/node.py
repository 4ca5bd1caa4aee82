# SPDX-License-Identifier: Apache-2.0
"""What every object of a tree has, and how tuples of them are searched and changed.

Values are checked as they are made and never change, so code that holds one may trust it; not
even `replace` can make a bad one.
"""

from collections.abc import Iterator
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from colonnade.domain.attributes import Attribute
from colonnade.domain.bounds import limits_of
from colonnade.domain.errors import NotFound, require
from colonnade.domain.limits import TAGS_MAX, Text

Description: TypeAlias = Annotated[Text, Attribute("What it is for.")]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: Annotated[Text, Attribute("Its name.")] = ""
    admin_state_up: Annotated[
        bool, Attribute("Switched on or off.", option="--enable/--disable")
    ] = True
    tags: Annotated[tuple[Text, ...], Attribute("A tag; repeat for more.", option="--tag")] = ()

    def __post_init__(self) -> None:
        limits_of(type(self))(self)
        if self.tags:
            require("tags", len(self.tags) <= TAGS_MAX, f"are at most {TAGS_MAX}")


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

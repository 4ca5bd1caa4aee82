# SPDX-License-Identifier: Apache-2.0
"""What a flat noun is: one that stands alone, in no tree. One description for each says all that
its table, its routes, its rights and its commands are made from.

The attributes are in the noun's class (`domain/attributes.py`); a description holds the rest. The
descriptions are in `domain/flat_nouns.py`. This module knows no noun, no SQL, no HTTP.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class Rights(Enum):
    """Whose the objects are, and so who may do what."""

    OWNED = "a project's own"
    OFFERED = "kept by operators, seen by all"
    OPERATED = "kept and seen by operators alone"


class Title(msgspec.Struct, frozen=True):
    """A column of the list that the command line prints, after name and id."""

    title: str
    attribute: str
    wraps: bool = False  # a sentence: it takes more lines where there is no room
    refers: str = ""  # the word of the noun whose names are shown for the ids in it


class Verb(msgspec.Struct, frozen=True):
    """One of the five things to do with a noun, as the API's documentation tells of it."""

    summary: str
    example: Mapping[str, Any] | None = None  # of what it takes


class FlatNoun(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """`type` has a field for each column; those of the wire are its attributes. An owned noun has
    besides a project and the times of its making and its last change."""

    type: type[T]
    noun: str  # in sentences: "Flavor profile"
    name: str  # in code: "flavor_profile"
    word: str  # on the command line
    help: str  # of its commands
    table: str
    steps: str  # of its path, after /v2/lbaas/
    one: str  # the key of an object in bodies and answers
    many: str  # the key of a list
    links: str = ""  # the key of a list's links, where it is another than the contract's usual one
    key: str = "id"  # what a path names an object by
    place: str  # the name of that in the path
    schema: str = ""  # what the OpenAPI document calls an object, where it is not its type's
    rule: str  # its part of policy rules
    rights: Rights
    in_use: str = "is in use and cannot be deleted."
    per_project_max: int = 0  # of an owned noun
    over_quota: str = ""
    titles: tuple[Title, ...] = ()
    list: Verb
    create: Verb
    show: Verb
    update: Verb
    delete: Verb

    @property
    def is_owned(self) -> bool:
        return self.rights is Rights.OWNED

    @property
    def columns(self) -> tuple[str, ...]:
        return self.type.__struct_fields__

    def named(self, key: str) -> str:
        return f"{self.noun} {key}"

# SPDX-License-Identifier: Apache-2.0
"""What would be different here, said of one attribute of one object, with cause and cure."""

from enum import StrEnum

import msgspec


class Weight(StrEnum):
    BLOCKS = "blocks"  # nothing is taken over until it is cured
    DIFFERS = "differs"  # it is taken over, and this is not as it was
    WARNS = "warns"  # it is taken over as it is, and something about it is odd


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`place`: the object in the words of a person, with its id."""

    weight: Weight
    place: str
    attribute: str = ""
    cause: str
    cure: str = ""


def warns(place: str, cause: str, cure: str = "", *, attribute: str = "") -> Finding:
    return Finding(weight=Weight.WARNS, place=place, attribute=attribute, cause=cause, cure=cure)


def blocks(place: str, cause: str, cure: str = "", *, attribute: str = "") -> Finding:
    return Finding(weight=Weight.BLOCKS, place=place, attribute=attribute, cause=cause, cure=cure)


def differs(place: str, cause: str, cure: str = "", *, attribute: str = "") -> Finding:
    return Finding(weight=Weight.DIFFERS, place=place, attribute=attribute, cause=cause, cure=cure)

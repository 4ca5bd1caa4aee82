# SPDX-License-Identifier: Apache-2.0
"""Flat nouns on the command line, made from their descriptions: `domain/flat_nouns.py`."""

from typing import Any

import msgspec

from colonnade.cli.nouns.derived import options
from colonnade.cli.nouns.description import ID, NAME, Column, Noun
from colonnade.domain.flat import FlatNoun


def flat_noun(noun: FlatNoun[Any]) -> Noun:
    name = noun.noun.lower()
    named = (NAME, ID) if noun.key == "id" else (NAME,)
    return Noun(
        word=noun.word,
        noun=name,
        help=f"{name}s",
        path=f"lbaas/{noun.steps}",
        one=noun.one,
        many=noun.many,
        links=noun.links,
        key=noun.key,
        waits=False,
        columns=(*named, *(Column(*msgspec.structs.astuple(one)) for one in noun.titles)),
        attributes=options(noun.type),
    )

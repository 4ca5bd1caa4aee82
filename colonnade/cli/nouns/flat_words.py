# SPDX-License-Identifier: Apache-2.0
"""Flat nouns on the command line, made from their descriptions: `domain/flat_nouns.py`."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from colonnade.cli.nouns.derived import options
from colonnade.cli.nouns.description import ID, NAME, Attribute, Column, Kind, Noun
from colonnade.domain.flat import FlatNoun

# What is in a file, and never on the command line itself.
_FILES: Final = frozenset({"ca_certificate"})
# What may be said, and is no attribute.
_MORE: Final[Mapping[str, tuple[Attribute, ...]]] = {
    "logtarget": (
        Attribute("credentials", "A YAML or JSON file with its credentials.", Kind.FILED),
    ),
    "webhook": (Attribute("secret", "A file with what messages are signed with.", Kind.FILE),),
}


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
        attributes=(*(_from_file(one) for one in options(noun.type)), *_MORE.get(noun.word, ())),
    )


def _from_file(one: Attribute) -> Attribute:
    return msgspec.structs.replace(one, kind=Kind.FILE) if one.name in _FILES else one

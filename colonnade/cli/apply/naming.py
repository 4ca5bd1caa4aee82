# SPDX-License-Identifier: Apache-2.0
"""An exported document with names where ids of other things stood, as a person would write it.

Only a name that no other object of its kind has is taken; everything else stays an id.
"""

from collections import Counter
from typing import Any, Final

from colonnade.cli.documents.attributes import CHILDREN, LB, NAMED
from colonnade.cli.documents.document import Document
from colonnade.cli.objects.names import is_id
from colonnade.cli.objects.names_of_ids import NamesOfIds
from colonnade.cli.objects.session import Session

VIPS: Final = "additional_vips"


async def with_names(session: Session, document: Document) -> Document:
    called = NamesOfIds(session)
    words = {word for named in NAMED.values() for _, word in named.values()}
    attributes = _attributes(document)
    alone: dict[str, dict[str, str]] = {}
    for word in sorted(words):
        if attributes & {a for named in NAMED.values() for a, of in named.values() if of == word}:
            alone[word] = _alone(await called.of(word))
    return _named(LB, document, alone)


def _attributes(document: Any) -> set[str]:
    """All names in it, at any depth."""
    if isinstance(document, list):
        return {name for one in document for name in _attributes(one)}
    if not isinstance(document, dict):
        return set()
    return set(document) | {name for one in document.values() for name in _attributes(one)}


def _alone(names: Any) -> dict[str, str]:
    counts = Counter(names.values())
    return {id: name for id, name in names.items() if counts[name] == 1 and not is_id(name)}


def _named(kind: str, document: Document, names: dict[str, dict[str, str]]) -> Document:
    """The same in the same order."""
    references = {attribute: (word, of) for word, (attribute, of) in NAMED.get(kind, {}).items()}
    shown: Document = {}
    for name, value in document.items():
        if name in CHILDREN[kind]:
            child, many = CHILDREN[kind][name], isinstance(value, list)
            listed = [_named(child, one, names) for one in (value if many else [value])]
            shown[name] = listed if many else listed[0]
        elif name in references and value in names.get(references[name][1], {}):
            word, of = references[name]
            shown[word] = names[of][value]
        elif name == VIPS:
            shown[name] = [_vip(one, names.get("subnet", {})) for one in value]
        else:
            shown[name] = value
    return shown


def _vip(vip: Document, subnets: dict[str, str]) -> Document:
    return {
        "subnet" if name == "subnet_id" and value in subnets else name: subnets.get(value, value)
        for name, value in vip.items()
    }

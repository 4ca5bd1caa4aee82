# SPDX-License-Identifier: Apache-2.0
"""Attributes as options, and options as the body of a request.

What was not said is not in the body; an empty word, and what `--clear` names, is null. Names of
other objects become their ids on the way. Limits and rules are the endpoint's to check.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from inspect import Parameter
from pathlib import Path
from typing import Any

import msgspec
import typer

from colonnade.cli.documents import files
from colonnade.cli.nouns.description import Attribute, Kind, Noun
from colonnade.cli.objects.commands import once, parameter
from colonnade.cli.objects.completion import names_of
from colonnade.cli.objects.session import Session
from colonnade.domain.errors import Invalid

_KINDS: dict[Kind, Any] = {
    Kind.TEXT: str | None,
    Kind.INTEGER: int | None,
    Kind.NUMBER: float | None,
    Kind.FLAG: bool | None,
    Kind.TEXTS: list[str] | None,
    Kind.PAIRS: list[str] | None,
    Kind.TAGS: list[str] | None,
    Kind.SHARES: list[str] | None,
    Kind.VIPS: list[str] | None,
    Kind.FILE: Path | None,
    Kind.FILED: Path | None,
}
_METAVARS = {
    Kind.TEXT: "TEXT",
    Kind.TEXTS: "TEXT",
    Kind.INTEGER: "NUMBER",
    Kind.NUMBER: "NUMBER",
    Kind.PAIRS: "KEY=VALUE",
    Kind.SHARES: "POOL=WEIGHT",
    Kind.VIPS: "SUBNET[=ADDRESS]",
    Kind.TAGS: "TAG",
    Kind.FILE: "FILE",
    Kind.FILED: "FILE",
}


def option(attribute: Attribute, *, required: bool = False) -> Parameter:
    kind = _KINDS[attribute.kind]
    if attribute.choices:
        one: Any = StrEnum("Choice", {choice: choice for choice in attribute.choices})  # type: ignore[misc]
        kind = list[one] | None if attribute.kind is Kind.TEXTS else one | None
    return parameter(
        attribute.name,
        kind,
        ... if required else None,
        typer.Option(
            *attribute.words,
            help=_help(attribute),
            case_sensitive=False,
            autocompletion=names_of(attribute.refers) if attribute.refers else None,
            metavar=_metavar(attribute),
            show_default=False,
        ),
    )


def _metavar(attribute: Attribute) -> str | None:
    if attribute.refers and attribute.kind is not Kind.PAIRS:
        return "NAME|ID"
    return "WORD" if attribute.choices else _METAVARS.get(attribute.kind)


def _help(attribute: Attribute) -> str:
    if not attribute.choices:
        return attribute.help
    return f"{attribute.help} One of {', '.join(attribute.choices)}.".strip()


async def body(
    session: Session, attributes: Iterable[Attribute], words: Mapping[str, Any]
) -> dict[str, Any]:
    """The attributes that were said, as the wire wants them."""
    said: dict[str, Any] = {}
    for attribute in attributes:
        value = words.get(attribute.name)
        if value is None or value == []:  # typer has an empty list for what was not said
            continue
        said[attribute.name] = await _value(session, attribute, value)
    return said


def cleared(noun: Noun, names: Iterable[str]) -> dict[str, None]:
    """What `--clear` names, by an attribute's name or by its option's."""
    known: dict[str, str] = {}
    for attribute in noun.attributes:
        if not attribute.fixed:
            options = (part for word in attribute.words for part in word.split("/"))
            for word in (attribute.name, *options):
                known[word.strip("-").replace("-", "_")] = attribute.name
    nulls: dict[str, None] = {}
    for name in once(names):
        wanted = name.strip("-").replace("-", "_")
        if wanted not in known:
            choice = ", ".join(sorted(set(known.values())))
            raise Invalid(f"'{name}' cannot be cleared; these can: {choice}")
        nulls[known[wanted]] = None
    return nulls


async def _value(session: Session, attribute: Attribute, value: Any) -> Any:
    match attribute.kind:
        case Kind.PAIRS:
            return await _pairs(session, attribute, value)
        case Kind.FILE | Kind.FILED:
            read = files.read_text if attribute.kind is Kind.FILE else files.read_mapping
            return read(value)
        case Kind.SHARES:
            return await _shares(session, attribute, value)
        case Kind.VIPS:
            return [await _vip(session, text) for text in value]
        case Kind.TAGS:
            return [tag for tag in value if tag]
        case Kind.TEXTS:
            return [await _reference(session, attribute, one) for one in once(map(str, value))]
        case Kind.TEXT:
            text = str(value)
            return await _reference(session, attribute, text) if text else _nothing(attribute)
        case _:
            return value


async def _pairs(session: Session, attribute: Attribute, texts: Iterable[str]) -> dict[str, Any]:
    said = pairs(attribute.words[0], texts, numbers=attribute.nested)
    if attribute.refers and "target" in said:
        said["target_id"] = await session.id(attribute.refers, str(said.pop("target")))
    return said


async def _shares(
    session: Session, attribute: Attribute, texts: Iterable[str]
) -> list[dict[str, Any]]:
    shares = pairs(attribute.words[0], texts, numbers=True)
    return [
        {"pool_id": await session.id("pool", name), "weight": weight}
        for name, weight in shares.items()
    ]


async def _vip(session: Session, text: str) -> dict[str, str]:
    subnet, _, address = text.partition("=")
    said = {"subnet_id": await session.id("subnet", subnet)}
    return said | {"ip_address": address} if address else said


def _nothing(attribute: Attribute) -> str | None:
    return "" if attribute.name in ("name", "description") else None


async def _reference(session: Session, attribute: Attribute, text: str) -> str:
    if not attribute.refers:
        return text
    if attribute.refers == "secret":
        return await session.names.secret_ref(text)
    return await session.id(attribute.refers, text)


def pairs(option_word: str, texts: Iterable[str], *, numbers: bool) -> dict[str, Any]:
    """KEY=VALUE, repeated or joined by commas; numbers where asked for and where they look so."""
    texts = list(texts)
    if len(texts) == 1 and texts[0].startswith("{"):
        return _json(option_word, texts[0])
    found: dict[str, Any] = {}
    for text in once(texts):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Invalid(f"{option_word} takes KEY=VALUE, not '{text}'")
        found[key] = int(value) if numbers and value.isdecimal() else value
    return found


def _json(option_word: str, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Invalid(f"{option_word} is not a JSON object: {error}") from error

# SPDX-License-Identifier: Apache-2.0
"""Changes of the packet filter of a network namespace, each one whole or not at all.

What is changed is said in the JSON of libnftables-json(5), of which the words that our tables share
are here. It knows no table.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from colonnade.agent.programs import run, words
from colonnade.runtime.system_programs import find_nft

CHANGE_S_MAX: Final = 10.0
Json: TypeAlias = dict[str, Any]


class NftError(Exception):
    """All is as before; why, in words for a person."""


async def change(wanted: Json, namespace: Path) -> None:
    """Raises NftError."""
    nft = find_nft()
    if nft is None:
        raise NftError("the amphora has no nft (Debian package nftables)")
    code, output = await run(
        *("nsenter", f"--net={namespace}", nft, "--json", "--file", "-"),
        given=msgspec.json.encode(wanted),
        within_s=CHANGE_S_MAX,
    )
    if code != 0:
        raise NftError(words(output))


def replacing(table: str, said: Iterable[Json]) -> Json:
    """The table with this in it, in the place of any that is there; none, where nothing is said."""
    named = {"table": {"family": "inet", "name": table}}
    within = list(said)
    # A table is added so that it can be deleted: it works whether it is there or not.
    return {
        "nftables": [{"add": named}, {"delete": named}, *([{"add": named}] * bool(within)), *within]
    }


def chain(table: str, name: str, **hook: Any) -> Json:
    """`hook`: where packets come to it, if not from another chain."""
    return {"add": {"chain": {"family": "inet", "table": table, "name": name, **hook}}}


def rule(table: str, chain: str, expression: list[Json]) -> Json:
    return {"add": {"rule": {"family": "inet", "table": table, "chain": chain, "expr": expression}}}


def match(left: Json, right: Any) -> Json:
    return {"match": {"op": "==", "left": left, "right": right}}


def field(protocol: str, name: str) -> Json:
    """One of a packet's header."""
    return {"payload": {"protocol": protocol, "field": name}}


def family(version: int) -> str:
    return "ip" if version == 4 else "ip6"


PROTOCOL: Final[Json] = {"meta": {"key": "l4proto"}}
OPENS_TCP: Final = match({"&": [field("tcp", "flags"), ["syn", "ack"]]}, "syn")

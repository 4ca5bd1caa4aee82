# SPDX-License-Identifier: Apache-2.0
"""A noun of the API as a table: its path, what it shows, and which attributes may be given.

The tables beside this module are all that differs from noun to noun; commands, completion and
look-ups by name are made from them. Nothing here speaks to an endpoint or prints.
"""

from enum import Enum
from typing import Final

import msgspec

from colonnade.domain import shape


class Kind(Enum):
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    TEXTS = "texts"  # the option is repeated, or its words are parted by commas
    PAIRS = "pairs"  # KEY=VALUE, repeated; or a JSON object
    TAGS = "tags"
    FILE = "file"  # the text of a file; never on the command line itself
    FILED = "filed"  # names and values in a file, as YAML or JSON
    VIPS = "vips"  # SUBNET or SUBNET=ADDRESS, repeated
    SHARES = "shares"  # NAME=WEIGHT of pools, repeated


class Attribute(msgspec.Struct, frozen=True):
    """One attribute of the wire. `options` are its words on the command line; the first is the
    one that is shown. `refers`: the word of the noun whose name may stand for the id."""

    name: str
    help: str = ""
    kind: Kind = Kind.TEXT
    options: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    refers: str = ""
    required: bool = False
    fixed: bool = False  # said at creation only
    nested: bool = False  # PAIRS whose values are numbers where they look so

    @property
    def words(self) -> tuple[str, ...]:
        word = self.name.replace("_", "-")
        on_or_off = f"--{word}/--no-{word}" if self.kind is Kind.FLAG else f"--{word}"
        return self.options or (on_or_off,)


class Column(msgspec.Struct, frozen=True):
    """`of` is an attribute; `statuses` is provisioning and operating status in one, `endpoint`
    address and port."""

    title: str
    of: str
    wraps: bool = False  # a sentence: it takes more lines where there is no room
    refers: str = ""  # the word of the noun whose names are shown for the ids in it


class Noun(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is below the version; `{parent}` in it is the id of the parent, whose name comes
    first on the command line. `key` is what the path names an object by."""

    word: str
    noun: str
    help: str
    path: str
    one: str
    many: str
    columns: tuple[Column, ...]
    of: shape.Noun | None = None  # its place in the tree of a load balancer
    attributes: tuple[Attribute, ...] = ()
    parent: str = ""
    verbs: tuple[str, ...] = ("list", "show", "create", "set", "delete")
    links: str = ""
    key: str = "id"
    named: bool = True  # by name too, and created with one
    waits: bool = True  # has a provisioning status to wait for
    filters: tuple[Attribute, ...] = ()
    within: tuple[str, str] | None = None  # the noun above, as in LB/POOL, and its filter

    @property
    def links_word(self) -> str:
        return self.links or f"{self.many}_links"

    def place(self, parent: str = "") -> str:
        return self.path.format(parent=parent)


NAME: Final = Column("Name", "name")
ID: Final = Column("ID", "id")
STATUS: Final = Column("Status", "statuses")
WHY: Final = Column("Why", "operating_status_reason", wraps=True)

OF_LOAD_BALANCER: Final = Attribute(
    "loadbalancer_id", "Of this load balancer.", options=("--lb",), refers="lb"
)

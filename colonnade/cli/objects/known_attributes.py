# SPDX-License-Identifier: Apache-2.0
"""Which attributes the objects of a list have, so that a wrong word is told before it is sent.

They are those of our own answers, and of other endpoints those that a list has shown.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from colonnade.cli.nouns.description import Noun
from colonnade.domain.errors import Invalid

COMPUTED: Final = frozenset({"statuses", "endpoint"})  # columns that are made of several
# What a list may be asked for beside attributes.
QUERIES: Final = frozenset(
    {"limit", "marker", "sort", "page_reverse", "fields", "tags-any", "not-tags", "not-tags-any"}
)
_EVERYWHERE: Final = frozenset({"id", "name", "project_id", "created_at", "updated_at"})


def check(noun: Noun, names: Collection[str], rows: Collection[Mapping[str, Any]] = ()) -> None:
    """Raises Invalid for the first of the names that is no attribute of the noun."""
    known = (_known(noun) | COMPUTED).union(*rows)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise Invalid(
                f"'{name}' is not an attribute of {noun.help}{hint}; "
                f"there are: {', '.join(sorted(known - COMPUTED))}"
            )


def _known(noun: Noun) -> frozenset[str]:
    from colonnade.api.resources import objects

    said = {one.name for one in (*noun.attributes, *noun.filters)}
    shown = {column.of for column in noun.columns}
    typed = objects.object_of(noun.of).__struct_fields__ if noun.of is not None else ()
    return _EVERYWHERE.union(said, shown, typed)

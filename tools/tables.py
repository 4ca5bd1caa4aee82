# SPDX-License-Identifier: Apache-2.0
"""Pages made from the code, so that they cannot disagree with it.

`make docs` writes them; a unit test fails when what is in the tree differs from what this makes.
"""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT

import colonnade
from bench import picture
from bench.results import Run
from colonnade.api.resources.bodies import AdditionalVip
from colonnade.domain import shape
from colonnade.domain.attributes import Described, described
from colonnade.domain.lifecycle import TRANSITIONS, State
from tools.map import drawing

DOCS = Path(__file__).parents[1] / "docs"
CODE = Path(colonnade.__file__).parent


def lifecycle() -> str:
    """The life of an amphora as a drawing (Mermaid) and as a table."""
    arrows = [f"    {a.value} --> {b.value}: {e.value}" for (a, e), b in TRANSITIONS.items()]
    rows = [f"| {a.value} | {e.value} | {b.value} |" for (a, e), b in TRANSITIONS.items()]
    return "\n".join(
        [
            "# The life of an amphora",
            "",
            "Made from `colonnade/domain/lifecycle.py` by `make docs`.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            f"    [*] --> {State.BOOTING.value}",
            *arrows,
            f"    {State.GONE.value} --> [*]",
            "```",
            "",
            "| State | Event | State afterwards |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def attributes() -> str:
    """Each attribute of the nouns of a tree: what it may be, what it is when nothing is said."""
    lines = [
        "# Attributes",
        "",
        "Made from the classes in `colonnade/domain/` by `make docs`. What is *fixed* is said when"
        " an object is made and never changes; what is *chosen* is settled by the endpoint when it"
        " is not said. What HAProxy makes of them: [features](features.md).",
    ]
    for noun in shape.NOUNS:
        below = ", ".join(f"`{child.word}`" for child in noun.below)
        lines += [
            "",
            f"## {noun.noun}",
            "",
            *([f"Below it: {below}.", ""] if below else []),
            "| Attribute | What it is | Value | Default |",
            "| --- | --- | --- | --- |",
            *(_row(one) for one in described(noun.type).values()),
        ]
    return "\n".join([*lines, ""])


def _row(one: Described) -> str:
    what = one.about.help + (" *Fixed.*" if one.about.fixed else "")
    return f"| `{one.name}` | {what.strip()} | {_value(one)} | {_default(one)} |"


def _value(one: Described) -> str:
    words = _bounded(one) if not one.choices else ", ".join(f"`{word}`" for word in one.choices)
    return f"list of: {words}" if one.is_list else words


def _bounded(one: Described) -> str:
    kind = _WORDS.get(one.item, "id" if one.is_id else "text")
    if hasattr(one.item, "__struct_fields__"):
        parts = (_PARTS.get(one.name) or one.item).__struct_fields__
        kind = "object: " + ", ".join(f"`{part}`" for part in parts)
    least = next((limit.ge for limit in one.limits if limit.ge is not None), None)
    most = next((limit.le for limit in one.limits if limit.le is not None), None)
    longest = next((limit.max_length for limit in one.limits if limit.max_length), None)
    if longest is not None:
        return f"{kind}, at most {longest} long"
    if least is not None and most is not None:
        return f"{kind}, {least} to {most}"
    return f"{kind}, {least} or more" if least is not None else kind


_PARTS = {"additional_vips": AdditionalVip}  # on the wire it has other names for them
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    dict: "object",
}


def _default(one: Described) -> str:
    if one.about.chosen:
        return "chosen"
    if one.default is NODEFAULT:
        return "must be given"
    return f"`{msgspec.json.encode(one.default).decode()}`"


def code_map() -> str:
    """The packages, what is in them, and who imports whom (SVG)."""
    return drawing(CODE)


def comparison() -> str:
    """Ours beside Octavia (SVG), from the run that is kept."""
    return picture.compared(_kept("peer"))


def benchmarks() -> str:
    """The page, with the tables of the runs that are kept in their places."""
    page = (DOCS / "benchmarks.md").read_text()
    for part, table in (("peer", picture.peer_table), ("scale", picture.scale_table)):
        begin, end = f"<!-- {part}: by `make docs` -->\n\n", f"\n\n<!-- end of {part} -->"
        before, _, rest = page.partition(begin)
        page = before + begin + table(_kept(part)) + end + rest.partition(end)[2]
    return page


def _kept(part: str) -> Run:
    return msgspec.json.decode((DOCS / "figures" / f"{part}.json").read_bytes(), type=Run)


PAGES = {
    DOCS / "attributes.md": attributes,
    DOCS / "benchmarks.md": benchmarks,
    DOCS / "pictures" / "map.svg": code_map,
    DOCS / "pictures" / "peer.svg": comparison,
    DOCS / "pictures" / "lifecycle.md": lifecycle,
}


def main() -> None:
    for path, page in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(page())


if __name__ == "__main__":
    main()

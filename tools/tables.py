# SPDX-License-Identifier: Apache-2.0
"""Pages made from the code, so that they cannot disagree with it.

`make docs` writes them; a unit test fails when what is in the tree differs from what this makes.
"""

from pathlib import Path

import colonnade
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


def code_map() -> str:
    """The packages, what is in them, and who imports whom (SVG)."""
    return drawing(CODE)


PAGES = {
    DOCS / "pictures" / "lifecycle.md": lifecycle,
    DOCS / "pictures" / "map.svg": code_map,
}


def main() -> None:
    for path, page in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(page())


if __name__ == "__main__":
    main()

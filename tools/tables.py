# SPDX-License-Identifier: Apache-2.0
"""Pages made from the code, so that they cannot disagree with it.

`make docs` writes them; a unit test fails when what is in the tree differs from what this makes.
"""

from pathlib import Path

from colonnade.domain.lifecycle import TRANSITIONS, State

DOCS = Path(__file__).parents[1] / "docs"


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


PAGES = {DOCS / "pictures" / "lifecycle.md": lifecycle}


def main() -> None:
    for path, page in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(page())


if __name__ == "__main__":
    main()

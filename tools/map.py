# SPDX-License-Identifier: Apache-2.0
"""The map of the code: packages as boxes, imports between them as arrows, as an SVG.

Everything is read from the tree: which packages and rooms (packages inside of a package) there
are, who imports whom, and the sentence of each package from its
`__init__.py`. A package stands on a floor above all that it imports. An arrow that follows from
others is left out: who uses drivers may use what drivers use. The same tree gives the same bytes.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Final

PROJECT: Final = "colonnade"
WIDTH: Final = 1080
MARGIN: Final = 24
GAP: Final = 28  # between boxes of one floor
GUTTER: Final = 64  # between floors, where the arrows are
PAD: Final = 12
LINE: Final = 17
LETTER: Final = 6.2  # a generous guess for 12 px; text is wrapped by it

STYLE: Final = """
    .page { fill: #ffffff } .box { fill: #f1f5fb; stroke: #5b6b82 } .name { fill: #12203a; font-weight: bold; font-size: 15px }
    .text { fill: #33415a } .rooms { fill: #1f5fae } .arrow { stroke: #7c8aa0; fill: none; stroke-width: 1.4 } .tip { fill: #7c8aa0 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0f141b } .box { fill: #1b2430; stroke: #7f8ea3 } .name { fill: #eef3fa }
      .text { fill: #c3cedc } .rooms { fill: #7fb4f5 } .arrow { stroke: #8c9bb0 } .tip { fill: #8c9bb0 }
    }
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    sentence: str
    rooms: tuple[str, ...]
    uses: frozenset[str]


@dataclass(frozen=True, slots=True)
class Box:
    package: Package
    x: float
    y: float
    width: float
    height: float


def packages(root: Path) -> list[Package]:
    found = [path.parent for path in sorted(root.glob("*/__init__.py"))]
    names = {folder.name for folder in found}
    return [_package(folder, names) for folder in found]


def _package(folder: Path, names: set[str]) -> Package:
    sources = [path for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py"]
    homes = sorted({path.parent.relative_to(folder) for path in sources} - {Path()})
    trees = [ast.parse(path.read_text()) for path in sources]
    uses = {name for tree in trees for name in _imported(tree) if name in names}
    return Package(
        name=folder.name,
        sentence=ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or "",
        rooms=tuple(home.as_posix() for home in homes),
        uses=frozenset(uses - {folder.name}),
    )


def _imported(tree: ast.Module) -> Iterator[str]:
    """The packages of the project that a module names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == PROJECT:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from _inner(node.module)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _inner(alias.name)


def _inner(module: str) -> Iterator[str]:
    words = module.split(".")
    if words[0] == PROJECT and len(words) > 1:
        yield words[1]


def direct(found: Sequence[Package]) -> dict[str, list[str]]:
    """The arrows that do not follow from others. Raises ValueError for a circle of packages."""
    uses = {package.name: package.uses for package in found}
    reached: dict[str, frozenset[str]] = {}

    def below(name: str, path: tuple[str, ...]) -> frozenset[str]:
        if name in path:
            raise ValueError(f"packages import in a circle: {' -> '.join((*path, name))}")
        if name not in reached:
            further = (below(used, (*path, name)) for used in sorted(uses[name]))
            reached[name] = uses[name].union(*further)
        return reached[name]

    return {
        name: sorted(
            used
            for used in uses[name]
            if not any(used in below(other, (name,)) for other in uses[name])
        )
        for name in uses
    }


def floors(arrows: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """From the top. Each name is right below its lowest user, so that few arrows pass a floor;
    who uses nothing is on the ground."""
    users = {name: [user for user in arrows if name in arrows[user]] for name in arrows}

    def depth(name: str) -> int:
        return 1 + max((depth(user) for user in users[name]), default=-1)

    deepest = max(depth(name) for name in arrows)
    level = {name: depth(name) if arrows[name] else deepest for name in arrows}
    rows = [sorted(n for n in arrows if level[n] == floor) for floor in range(deepest + 1)]
    # Whose arrows pass a floor stands at the right end, with free way down.
    return [
        sorted(row, key=lambda n: any(level[used] > level[n] + 1 for used in arrows[n]))
        for row in rows
    ]


def _lines(package: Package, width: float) -> list[tuple[str, str]]:
    """Each line of text with its class."""
    letters = int((width - 2 * PAD) / LETTER)
    rooms = wrap("  ".join(f"{room}/" for room in package.rooms), letters, break_on_hyphens=False)
    return [
        *(("text", line) for line in wrap(package.sentence, letters)),
        *(("rooms", line) for line in rooms),
    ]


def _placed(
    rows: Sequence[Sequence[str]],
    arrows: Mapping[str, Sequence[str]],
    by_name: Mapping[str, Package],
) -> dict[str, Box]:
    level = {name: floor for floor, row in enumerate(rows) for name in row}
    boxes: dict[str, Box] = {}
    y: float = MARGIN
    for floor, row in enumerate(rows):
        passing = [
            boxes[name].x
            for name in boxes
            if level[name] < floor and any(level[used] > floor for used in arrows[name])
        ]
        right = min(passing, default=WIDTH - MARGIN + GAP) - GAP
        width = (right - MARGIN - GAP * (len(row) - 1)) / len(row)
        longest = max(len(_lines(by_name[name], width)) for name in row)
        height = 2 * PAD + LINE * (longest + 1)
        for at, name in enumerate(row):
            boxes[name] = Box(by_name[name], MARGIN + at * (width + GAP), y, width, height)
        y += height + GUTTER
    return boxes


def _box(box: Box) -> str:
    package = box.package
    x, y = box.x + PAD, box.y + PAD + 13
    texts = [f'<text class="name" x="{x:.0f}" y="{y:.0f}">{escape(package.name)}</text>']
    for at, (kind, line) in enumerate(_lines(package, box.width), start=1):
        texts.append(
            f'<text class="{kind}" x="{x:.0f}" y="{y + at * LINE + 2:.0f}">{escape(line)}</text>'
        )
    frame = (
        f'<rect class="box" x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" '
        f'height="{box.height:.0f}" rx="8"/>'
    )
    return "\n  ".join([frame, *texts])


def _port(box: Box, others: Sequence[Box], other: Box) -> float:
    """Where on a box's edge the arrow to or from another is: in the order in which they stand."""
    ordered = sorted(others, key=lambda b: (b.x + b.width / 2, b.y))
    return box.x + box.width * (ordered.index(other) + 1) / (len(ordered) + 1)


def _arrow(user: Box, used: Box, boxes: Mapping[str, Box], arrows: Mapping[str, list[str]]) -> str:
    start = _port(user, [boxes[name] for name in arrows[user.package.name]], used)
    users = [boxes[name] for name in arrows if used.package.name in arrows[name]]
    end = _port(used, users, user)
    way = f"M{start:.0f} {user.y + user.height:.0f}"
    turn = used.y - GUTTER
    if turn > user.y + user.height + 1:  # past a floor: straight down beside its boxes first
        way += f"V{turn:.0f}"
    return f'<path class="arrow" marker-end="url(#tip)" d="{way}L{end:.0f} {used.y - 2:.0f}"/>'


def drawing(root: Path) -> str:
    found = packages(root)
    arrows = direct(found)
    rows = floors(arrows)
    boxes = _placed(rows, arrows, {package.name: package for package in found})
    height = max(box.y + box.height for box in boxes.values()) + MARGIN
    lines = [
        _arrow(boxes[user], boxes[used], boxes, arrows) for user in arrows for used in arrows[user]
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            'font-family="sans-serif" font-size="12" role="img">',
            "  <title>The packages, their rooms, and who imports whom</title>",
            f"  <style>{STYLE}  </style>",
            '  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            'markerHeight="7" orient="auto">'
            '<path class="tip" d="M0 0 10 5 0 10z"/></marker></defs>',
            f'  <rect class="page" width="{WIDTH}" height="{height:.0f}"/>',
            *(f"  {line}" for line in lines),
            *(f"  {_box(box)}" for box in boxes.values()),
            "</svg>",
            "",
        ]
    )

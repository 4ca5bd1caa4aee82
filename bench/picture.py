# SPDX-License-Identifier: Apache-2.0
"""What a run says, for people: the comparison with Octavia as a picture (SVG), and tables.

Made by `make docs` from the runs that are kept in `docs/figures/`; the same run gives the same
bytes. Which figure is good is not decided here.
"""

from collections.abc import Mapping
from html import escape
from typing import Final

from bench import peer, scale
from bench.results import Run

WIDTH: Final = 960
MARGIN: Final = 24
LABEL: Final = 230  # where the bars begin
BARS: Final = 450  # the longest one
WORDS: Final = LABEL + BARS + 24  # where the figures stand, clear of bars and goals
ROW: Final = 62
BAR: Final = 17
TOP: Final = 66

STYLE: Final = """
    .page { fill: #ffffff } .name { fill: #12203a; font-weight: bold } .text { fill: #33415a } .rate { fill: #2f6fbd } .cpu { fill: #d98324 }
    .goal { stroke: #12203a; stroke-width: 2; stroke-dasharray: 3 2 } .axis { stroke: #7c8aa0 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0f141b } .name { fill: #eef3fa } .text { fill: #c3cedc } .rate { fill: #6aa5ea } .cpu { fill: #eda353 }
      .goal { stroke: #eef3fa } .axis { stroke: #8c9bb0 }
    }
"""  # noqa: E501

Known = Mapping[str, float]


def compared(run: Run) -> str:
    """The picture: how many times better, in requests and in processor time."""
    figures = _known(run, "peer")
    cases = peer.CASES
    longest = max(_most(figures, case) for case in cases)
    unit = BARS / longest
    height = TOP + ROW * len(cases) + 52
    lines = []
    for at, case in enumerate(cases):
        lines += _row(figures, case, TOP + at * ROW, unit)
    bottom = TOP + ROW * len(cases)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="13" role="img">',
            "  <title>Colonnade beside Octavia: how many times as fast, how many times as cheap"
            "</title>",
            f"  <style>{STYLE}  </style>",
            f'  <rect class="page" width="{WIDTH}" height="{height}"/>',
            *_key(),
            *(f"  {line}" for line in lines),
            f'  <path class="axis" d="M{LABEL} {TOP - 10}V{bottom - 8}"/>',
            _text("text", MARGIN, bottom + 18, _whose(run)),
            _text("text", MARGIN, bottom + 38, where(run, "peer")),
            "</svg>",
            "",
        ]
    )


def _key() -> list[str]:
    y = MARGIN + 13
    return [
        f'  <rect class="rate" x="{LABEL}" y="{y - 12}" width="14" height="14"/>',
        _text("text", LABEL + 20, y, "requests, times as many"),
        f'  <rect class="cpu" x="{LABEL + 200}" y="{y - 12}" width="14" height="14"/>',
        _text("text", LABEL + 220, y, "processor time of one, times less"),
        f'  <path class="goal" d="M{LABEL + 440} {y - 13}v17"/>',
        _text("text", LABEL + 448, y, "goal"),
        _text("text", WORDS + 56, y, "Colonnade / Octavia"),
    ]


def _row(figures: Known, case: peer.Case, y: int, unit: float) -> list[str]:
    rate, cpu = _times(figures, case, _quick(case)), _times(figures, case, "cpu")
    lines = [_text("name", MARGIN, y + BAR + 5, case.words)]
    for kind, times, down in (("rate", rate, 0), ("cpu", cpu, BAR + 3)):
        lines += [
            f'<rect class="{kind}" x="{LABEL}" y="{y + down}" width="{times * unit:.1f}" '
            f'height="{BAR}"/>',
            _text("name", WORDS, y + down + 13, f"{short(times)}x"),
            _text("text", WORDS + 56, y + down + 13, _absolute(figures, case, kind)),
        ]
    goal = _goal(case)
    if goal is not None:
        lines.append(f'<path class="goal" d="M{LABEL + goal * unit:.1f} {y - 3}v{BAR + 6}"/>')
    return [f"  {line.strip()}" for line in lines]


def _quick(case: peer.Case) -> str:
    """A client alone is told how long it waits, several how many answers they get."""
    return "p50" if case.clients == 1 else "per_s"


def _absolute(figures: Known, case: peer.Case, kind: str) -> str:
    ours, theirs = (_side(figures, case, side, kind) for side in ("ours", "theirs"))
    unit = "ms" if kind == "cpu" or case.clients == 1 else "a second"
    return f"{short(ours)} / {short(theirs)} {unit}"


def _side(figures: Known, case: peer.Case, side: str, kind: str) -> float:
    def one(word: str) -> float:
        return figures[f"{case.name}.{side}.{word}"]

    if kind == "cpu":
        return (one("api_cpu_us") + one("database_cpu_us")) / 1000
    return one("p50_ms" if case.clients == 1 else "per_s")


def _times(figures: Known, case: peer.Case, word: str) -> float:
    return figures[f"{case.name}.times_{word}"]


def _goal(case: peer.Case) -> float | None:
    words = peer.GOALS.get(f"{case.name}.times_per_s")
    return float(words.lstrip("> ")) if words is not None else None


def _most(figures: Known, case: peer.Case) -> float:
    """What the bars must have room for."""
    return max(
        _times(figures, case, _quick(case)), _times(figures, case, "cpu"), _goal(case) or 0.0
    )


def short(value: float) -> str:
    """With three digits that count, or all before the point."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _text(kind: str, x: int, y: int, words: str) -> str:
    return f'  <text class="{kind}" x="{x}" y="{y}" xml:space="preserve">{escape(words)}</text>'


def _known(run: Run, part: str) -> Known:
    return {name: value for name, value in run.parts[part].items() if value is not None}


def _whose(run: Run) -> str:
    return f"Colonnade at {run.commit} beside {run.beside.get('peer', 'Octavia')}"


def where(run: Run, part: str) -> str:
    """On what, when, and how busy it was."""
    loads = [value for name, value in _known(run, part).items() if name.endswith("load_average")]
    busy = f"load average {min(loads):.1f} to {max(loads):.1f}"
    return f"{run.began[:10]}, {run.machine}, {busy}"


def peer_table(run: Run) -> str:
    figures = _known(run, "peer")
    rows = [
        "| Request | Clients | Octavia | Colonnade | Times | Goal | Octavia: API / database ms |"
        " Colonnade: API / database ms | Times | Load average |",
        "| --- |" + " --- |" * 9,
    ]
    for case in peer.CASES:
        unit = "ms" if case.clients == 1 else "/s"
        rate = [
            f"{short(_side(figures, case, side, 'rate'))} {unit}" for side in ("theirs", "ours")
        ]
        cpu = [
            " / ".join(
                f"{short(figures[f'{case.name}.{side}.{word}_cpu_us'] / 1000)}"
                for word in ("api", "database")
            )
            for side in ("theirs", "ours")
        ]
        goal = peer.GOALS.get(f"{case.name}.times_per_s") or peer.GOALS.get(
            f"{case.name}.ours.p50_ms", ""
        )
        cells = [
            case.words,
            str(case.clients),
            *rate,
            f"{short(_times(figures, case, _quick(case)))}x",
            goal + " ms" * (goal != "" and case.clients == 1),
            *cpu,
            f"{short(_times(figures, case, 'cpu'))}x",
            f"{figures[f'{case.name}.load_average']:.1f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([f"{_whose(run)}. {where(run, 'peer')}.", "", *rows])


def scale_table(run: Run) -> str:
    figures = _known(run, "scale")
    heads = [f"{size:,}".replace(",", " ") for size in scale.SIZES]
    rows = [
        "| Request | "
        + " | ".join(f"{head}: ms of processor" for head in heads)
        + " | "
        + " | ".join(f"{head} / {heads[0]}" for head in heads[1:])
        + " | Load average |",
        "| --- |" + " --- |" * (2 * len(scale.SIZES)),
    ]
    for name, case in scale.CASES.items():
        costs = [figures.get(f"{name}.cpu_us_{size}") for size in scale.SIZES]
        grown = [figures.get(f"{name}.growth_{size}") for size in scale.SIZES[1:]]
        cells = [
            case.words,
            *("no answer" if cost is None else short(cost / 1000) for cost in costs),
            *("" if times is None else f"{times:.2f}" for times in grown),
            f"{figures[f'{name}.load_average']:.1f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([f"Colonnade at {run.commit}. {where(run, 'scale')}.", "", *rows])

# SPDX-License-Identifier: Apache-2.0
"""Every command that the pages and examples print is one, with the options that they give it."""

import re
from pathlib import Path
from typing import Any

from typer.main import get_command

from colonnade.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.yaml")]
PRINTED = re.compile(r"(?:\bcl|\bcolonnade) ([a-z][^`;#|\n]*)")


def test_each_command_in_the_pages_is_one() -> None:
    found = [
        (file.name, printed.group(1))
        for file in PAGES
        for line in file.read_text().splitlines()
        for printed in PRINTED.finditer(line)
    ]
    assert len(found) > 80
    assert [(*one, lack) for one in found if (lack := lack_of(one[1]))] == []


def test_what_is_none_is_noticed() -> None:
    assert lack_of("lb create web --subnet s --wait") == ""
    assert lack_of("lb create web --colour red") == "no option --colour"
    assert lack_of("lb paint web") == "no command paint"


def lack_of(printed: str) -> str:
    """ "" when it is a command. Words in brackets may be left out, and are looked at too."""
    words = [word.rstrip(",.") for word in re.sub(r"[\[\]]", "", printed).split()]
    command: Any = get_command(app)
    context = command.make_context("colonnade", ["lb"], resilient_parsing=True)
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        if inner is None:
            return f"no command {words[0]}"
        command, words = inner, words[1:]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    given = words[: words.index("--")] if "--" in words else words
    unknown = [word for word in given if re.match(r"--?[a-z]", word) and word not in known]
    return f"no option {unknown[0]}" if unknown else ""

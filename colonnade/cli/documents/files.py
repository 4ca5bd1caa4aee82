# SPDX-License-Identifier: Apache-2.0
"""Documents in files: YAML or JSON, one or many, and `-` for standard input.

Only plain values are read, whatever a file asks for. This module knows no noun.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from colonnade.domain.errors import Invalid, NotFound

FILE_BYTES_MAX = 16 << 20
_REFUSED = re.compile(r"attribute (\w+)\. Value: '(.*?)'")  # as the contract has it


class Placed(dict[str, Any]):
    """A mapping of a file. `lines`: in which line each of its names stands; `line`: the first."""

    line: int = 0
    lines: Mapping[str, int] = {}


def line_of(found: Any, name: str = "") -> str:
    """ ", line 7" for messages; empty where it is not known."""
    if not isinstance(found, Placed):
        return ""
    line = found.lines.get(name, 0) if name else found.line
    return f", line {line}" if line else ""


def line_of_value(document: Any, refusal: str) -> str:
    """The same for the value that an endpoint refuses, where it stands there once."""
    said = _REFUSED.search(refusal)
    lines = set(_lines_of(document, said[1], said[2])) if said is not None else set()
    return f", line {lines.pop()}" if len(lines) == 1 else ""


def _lines_of(found: Any, name: str, value: str) -> Iterator[int]:
    if isinstance(found, list):
        for one in found:
            yield from _lines_of(one, name, value)
    elif isinstance(found, Placed):
        if name in found.lines and str(found.get(name)) == value:
            yield found.lines[name]
        for one in found.values():
            yield from _lines_of(one, name, value)


def read_documents(file: Path) -> list[Any]:
    """Each document of the file that is not empty. Raises Invalid with the place of a mistake."""
    import yaml

    text = read_text(file)
    try:
        found = list(yaml.load_all(text, Loader=strict_loader()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise Invalid(f"{file}{place}: {error.problem or 'not YAML'}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Invalid(f"{file} is not YAML: {error}") from error
    return [one for one in found if one is not None]


def strict_loader() -> Any:
    """Safe, and strict: a key that is there twice is a mistake, and not the last one's word."""
    import yaml

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if str(key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"'{key.value}' stands there twice", key.start_mark
                    )
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

        def construct_placed(self, node: Any) -> Iterator[Placed]:
            placed = Placed()
            placed.line = node.start_mark.line + 1
            placed.lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
            yield placed
            placed.update(self.construct_mapping(node))

    Strict.add_constructor("tag:yaml.org,2002:map", Strict.construct_placed)
    return Strict


def read_mapping(file: Path) -> dict[str, Any]:
    found = read_documents(file)
    if len(found) != 1 or not isinstance(found[0], dict):
        raise Invalid(f"{file} is not one document of names and values")
    return dict(found[0])


def written(documents: Iterable[Any]) -> str:
    """The documents as YAML, in the order of their attributes."""
    import yaml

    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=100)


def read_text(file: Path) -> str:
    try:
        raw = (
            sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
            if str(file) == "-"
            else file.read_bytes()[: FILE_BYTES_MAX + 1]
        )
    except FileNotFoundError as error:
        raise NotFound(f"the file {file} does not exist") from error
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise Invalid(f"{file} is larger than {FILE_BYTES_MAX >> 20} MiB")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is not UTF-8 text") from error

# SPDX-License-Identifier: Apache-2.0
"""Documents in files: YAML or JSON, one or many, and `-` for standard input.

Only plain values are read, whatever a file asks for. This module knows no noun.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from colonnade.domain.errors import Invalid, NotFound

FILE_BYTES_MAX = 16 << 20


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
                        None, None, f"'{key.value}' is there twice", key.start_mark
                    )
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

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
        raise NotFound(f"there is no file {file}") from error
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise Invalid(f"{file} is larger than {FILE_BYTES_MAX >> 20} MiB")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is not UTF-8 text") from error

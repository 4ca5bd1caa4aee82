# SPDX-License-Identifier: Apache-2.0
"""The arrows of import and the sizes of the house, read from the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "colonnade"

# What each package may import from the project, besides itself. `docs/architecture.md` draws it.
MAY_IMPORT = {
    "domain": set(),
    "runtime": set(),
    "protocol": set(),
    "store": {"domain", "runtime", "drivers.secrets"},
    "drivers": {"domain", "protocol", "runtime"},
    "providers": {"domain", "protocol", "drivers", "runtime"},
    "api": {"domain", "store", "providers", "drivers", "runtime", "protocol"},
    "controller": {"domain", "protocol", "store", "drivers", "providers", "runtime"},
    "health": {"domain", "protocol", "store", "drivers", "providers", "runtime"},
    "agent": {"protocol", "runtime"},
    "cli": {
        "domain", "protocol", "store", "drivers", "providers",
        "controller", "health", "runtime", "api", "agent",
    },
}  # fmt: skip

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PUBLIC_METHODS_MAX = 12


def modules() -> list[Path]:
    return sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=name)
def test_imports_follow_the_arrows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    allowed = MAY_IMPORT[package] | {package}
    for imported in imports(path):
        if not imported.startswith("colonnade."):
            continue
        inner = imported.removeprefix("colonnade.")
        assert any(inner == a or inner.startswith(f"{a}.") for a in allowed), (
            f"{name(path)} imports {imported}"
        )


@pytest.mark.parametrize("path", modules(), ids=name)
def test_sizes_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES_MAX, "split the module where it wants to be split"
    if text.strip():
        assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} is {lines} lines long"
        if isinstance(node, ast.ClassDef):
            methods = [
                f.name
                for f in node.body
                if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
                and not f.name.startswith("_")
            ]
            assert len(methods) <= PUBLIC_METHODS_MAX, f"{node.name} has too many methods"


def test_the_domain_needs_the_standard_library_and_msgspec_only() -> None:
    import sys

    for path in (ROOT / "domain").glob("*.py"):
        for imported in imports(path):
            top = imported.split(".")[0]
            assert top in sys.stdlib_module_names or top in ("msgspec", "colonnade"), path

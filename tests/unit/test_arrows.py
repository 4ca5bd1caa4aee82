# SPDX-License-Identifier: Apache-2.0
"""The arrows of import and the sizes of the house, read from the source itself."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
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
    "notifier": {
        "domain", "store", "drivers.secrets", "drivers.issuers", "controller.account",
        "controller.loop", "runtime",
    },
    "agent": {"protocol", "runtime"},
    "cli": {
        "domain", "protocol", "store", "drivers", "providers",
        "controller", "health", "notifier", "runtime", "api", "agent",
    },
}  # fmt: skip

# Within a package, what each room (a folder) may import of the others. A module that is in no
# room may use any, as long as no circle comes of it.
ROOMS: Mapping[str, Mapping[str, set[str]]] = {
    "store": {
        "postgres": set(),
        "queue": {"postgres"},
        "fleet": {"postgres", "queue"},
        "rows": {"postgres"},
        "requests": {"postgres", "rows"},
        "catalogue": {"postgres", "queue", "rows"},
        "secrets": {"postgres", "queue", "rows", "requests"},
        "trees": {"postgres", "queue", "fleet", "rows", "requests", "catalogue", "secrets"},
        "extras": {"postgres", "queue", "rows", "trees"},
        "reports": {"postgres", "queue", "fleet", "rows", "trees"},
    },
    "api": {
        "server": set(),
        "identity": {"server"},
        "http": {"identity"},
        "resources": {"http", "identity"},
        "user": {"http", "resources"},
        "operator": {"http", "resources"},
        "extras": {"http", "identity", "resources", "user"},
        "steps": {"http", "resources", "extras"},
    },
    "agent": {
        "haproxy": set(),
        "network": set(),
        "heartbeat": {"haproxy"},
        "logs": {"haproxy"},
        "keepalived": {"haproxy", "network"},
        "bgp": {"haproxy"},
        "apply": {"haproxy", "network", "keepalived", "bgp"},
    },
    "cli": {
        "documents": set(),
        "nouns": set(),
        "local": set(),
        "installation": {"local"},
        "backup": {"local"},
        "lab": {"local"},
        "cloud": set(),
        "image": set(),
        "objects": {"documents", "nouns", "local"},
        "apply": {"documents", "objects"},
        "octavia": {"nouns", "objects"},
        "demo": {"lab", "local"},
    },
    "drivers": {
        "secrets": {"openstack"},
        "issuers": set(),
        "logs": set(),
        "openstack": set(),
        "network": {"openstack"},
        "compute": {"network", "openstack"},
        "network_daemon": {"network", "compute"},
        "amphora": {"secrets"},
    },
}

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PUBLIC_METHODS_MAX = 12
SAME_NAME_MAX = 2
# Names that several packages have a module of, and mean the same by it.
SHARED_NAMES = {
    "amphorae", "attributes", "catalogue", "history", "hosts", "log_targets", "quotas", "secrets",
    "statistics", "webhooks", "__init__", "client", "metrics", "process", "protocol",
}  # fmt: skip


@cache
def modules() -> tuple[Path, ...]:
    return tuple(sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT))


def folders() -> list[Path]:
    return sorted({path.parent for path in modules()})


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Everything that is imported, at the top of the module or within a function."""
    found: list[str] = []
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return tuple(found)


def arrows(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Between what lies in a folder, be it a module or a folder: from, to, and the import."""
    prefix = ".".join(["colonnade", *folder.relative_to(ROOT).parts, ""])
    for path in modules():
        if path.is_relative_to(folder):
            here = path.relative_to(folder).with_suffix("").parts[0]
            for imported in imports(path):
                there = imported.removeprefix(prefix).split(".")[0]
                if imported.startswith(prefix) and there != here:
                    yield here, there, f"{name(path)} imports {imported}"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_follow_the_arrows(package: str) -> None:
    allowed = tuple(f"colonnade.{one}." for one in MAY_IMPORT[package] | {package})
    against = [
        f"{name(path)} imports {imported}"
        for path in modules()
        for imported in imports(path)
        if path.is_relative_to(ROOT / package)
        and imported.startswith("colonnade.")
        and not f"{imported}.".startswith(allowed)
    ]
    assert against == []


def test_each_package_has_its_arrows() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in modules()} == set(MAY_IMPORT)


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_follow_the_arrows(package: str) -> None:
    rooms = ROOMS[package]
    there = {p.name for p in (ROOT / package).iterdir() if (p / "__init__.py").exists()}
    assert there == set(rooms), "each room, and no other, has a row above"
    against = [
        told
        for one, other, told in arrows(ROOT / package)
        if one in rooms and other in rooms and other not in rooms[one]
    ]
    assert against == []


@pytest.mark.parametrize("folder", folders(), ids=name)
def test_arrows_make_no_circle(folder: Path) -> None:
    """Folders and modules side by side: whoever is above somebody is not below the same."""
    found = list(arrows(folder))
    circle = circle_in((one, other) for one, other, _ in found)
    steps = list(zip(circle[1:], circle, strict=False))
    assert circle == [], [told for one, other, told in found if (one, other) in steps]


def test_a_circle_is_noticed() -> None:
    assert circle_in([("a", "b"), ("b", "c")]) == []
    assert circle_in([("a", "b"), ("b", "c"), ("c", "a")]) != []


def circle_in(found: Iterable[tuple[str, str]]) -> list[str]:
    below: dict[str, set[str]] = {}
    for one, other in found:
        below.setdefault(one, set()).add(other)
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_name_stands_for_many_modules() -> None:
    """Who searches for a file by its name finds the one that was meant."""
    stems = [path.stem for path in modules() if path.stem not in SHARED_NAMES]
    assert sorted({stem for stem in stems if stems.count(stem) > SAME_NAME_MAX}) == []


def test_sizes_stay_readable() -> None:
    assert [told for path in modules() for told in too_large(path)] == []


def too_large(path: Path) -> Iterator[str]:
    text = path.read_text()
    if text.count("\n") > MODULE_LINES_MAX:
        yield f"{name(path)} is too long: split it where it wants to be split"
    if text.strip() and not text.startswith("# SPDX-License-Identifier: Apache-2.0\n"):
        yield f"{name(path)} does not begin with its licence"
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{name(path)}: {node.name} is {lines} lines long"
        if isinstance(node, ast.ClassDef):
            functions = [
                f for f in node.body if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            if sum(not f.name.startswith("_") for f in functions) > PUBLIC_METHODS_MAX:
                yield f"{name(path)}: {node.name} has too many methods"


def test_the_domain_needs_the_standard_library_and_msgspec_only() -> None:
    import sys

    for path in (ROOT / "domain").glob("*.py"):
        for imported in imports(path):
            top = imported.split(".")[0]
            assert top in sys.stdlib_module_names or top in ("msgspec", "colonnade"), path


def test_the_network_driver_knows_no_word_of_load_balancing() -> None:
    known = ("colonnade.domain.errors", "colonnade.domain.ids")
    for room in ("network", "network_daemon"):
        for path in (ROOT / "drivers" / room).rglob("*.py"):
            of_domain = [one for one in imports(path) if one.startswith("colonnade.domain.")]
            assert all(one.startswith(known) for one in of_domain), path

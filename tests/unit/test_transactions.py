# SPDX-License-Identifier: Apache-2.0
"""While the API holds rows, it waits for the database alone: read from the source itself.

A provider or the network service that is slow would else keep everybody waiting who wants these
rows, each holding a connection.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

API = Path(__file__).parents[2] / "colonnade" / "api"
EDITS = {"editing"}
TRANSACTIONS = {"transaction", "pipeline"}
HOLDERS = {"Connection", "Change"}  # parameters of what is called within a transaction


def opened(block: ast.AsyncWith) -> set[str]:
    functions = (getattr(item.context_expr, "func", None) for item in block.items)
    return {function.attr for function in functions if isinstance(function, ast.Attribute)}


def is_within(function: ast.AsyncFunctionDef) -> bool:
    kinds = {
        node.id
        for one in function.args.args
        if one.annotation is not None
        for node in ast.walk(one.annotation)
        if isinstance(node, ast.Name)
    }
    return bool(kinds & HOLDERS)


def asks_database(wait: ast.Await) -> bool:
    """It is given the connection, or what carries it."""
    words = {node.id for node in ast.walk(wait) if isinstance(node, ast.Name)}
    words |= {node.attr for node in ast.walk(wait) if isinstance(node, ast.Attribute)}
    return bool(words & {"connection", "change", "cursor"})


def waits(node: ast.AST) -> Iterator[ast.Await]:
    return (found for found in ast.walk(node) if isinstance(found, ast.Await))


def faults(source: str) -> list[int]:
    """Lines that wait for something else while rows are held."""
    found: list[int] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AsyncWith) and opened(node) & EDITS:
            found += (one.lineno for line in node.body for one in waits(line))
        elif isinstance(node, ast.AsyncWith) and opened(node) & TRANSACTIONS:
            body = (one for line in node.body for one in waits(line))
            found += (one.lineno for one in body if not asks_database(one))
        elif isinstance(node, ast.AsyncFunctionDef) and is_within(node):
            found += (one.lineno for one in waits(node) if not asks_database(one))
    return found


@pytest.mark.parametrize("path", sorted(API.rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_but_the_database_is_waited_for_while_rows_are_held(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    "body",
    [
        "async with call.editing(POOLS, x) as edit:\n        await provider.check(edit.tree)",
        "async with database.transaction() as c:\n        if x:\n            await asked()",
        "async def f(connection: Connection) -> None:\n        await network.subnets()",
        "async def f(change: Change[Any]) -> None:\n        await network.subnets()",
    ],
)
def test_what_waits_for_another_is_found(body: str) -> None:
    assert len(faults(f"async def handler(call):\n    {body}\n")) == 1


def test_waiting_for_the_database_is_no_fault() -> None:
    source = "async with d.transaction() as connection:\n        await rows.get(connection, x)"
    assert faults(f"async def handler(call):\n    {source}\n") == []

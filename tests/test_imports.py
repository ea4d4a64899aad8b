"""Imports run one way through the rooms: a room may import itself and what stands below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lifelong

PACKAGE = Path(lifelong.__file__).parent
BELOW = {
    "runtime": set(),
    "params": {"runtime"},
    "data": {"params", "runtime"},
    "networks": {"data", "params", "runtime"},
    "evaluation": {"networks", "data", "params", "runtime"},
    "training": {"evaluation", "networks", "data", "params", "runtime"},
}
BELOW["methods"] = {*BELOW, *()}
BELOW["pipeline"] = {*BELOW}
BELOW["reports"] = {*BELOW}
BELOW["cli"] = {*BELOW}
KNOWN = {("params/methods.py", "lifelong.methods")}
"""Finds the packages of methods, each of which declares its own."""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_what_stands_below_it(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if len(parts) == 1:
        return
    room = parts[0]
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "lifelong" and rest and (str(path.relative_to(PACKAGE)), name) not in KNOWN:
            other = rest.split(".")[0]
            assert other == room or other in BELOW[room], f"{room} imports {name}"


def test_no_test_imports_another() -> None:
    """What tests share lies in tests/support."""
    for path in Path(__file__).parent.rglob("*.py"):
        assert not [name for name in imports(path) if name.split(".")[0].startswith("test_")], path
        assert "support" in path.parts or path.name == "conftest.py" or path.name.startswith("test_"), path

"""What a result depends on, as one hash: the parameters and the code that made it.

The code of a stage is every module of this package that its roots import, directly or not, found by reading the sources;
comments, docstrings and formatting do not count. Modules that move or show data but decide no number are left out, and
so is `lifelong.config`, whose outcome is the parameters themselves.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lifelong.artifacts import json_digest

PACKAGE = Path(__file__).parent
NEUTRAL = (
    "lifelong.artifacts",
    "lifelong.config",
    "lifelong.errors",
    "lifelong.fingerprint",
    "lifelong.layout",
    "lifelong.learning.checkpoints",
    "lifelong.memory",
    "lifelong.progress",
    "lifelong.stages",
)


def fingerprint(parameters: Mapping[str, Any], roots: Iterable[str]) -> str:
    """Hash of parameters (JSON values) and of the code reachable from the root modules."""
    return json_digest({"parameters": parameters, "code": code_digest(tuple(sorted(roots)))})


@functools.cache
def code_digest(roots: tuple[str, ...]) -> str:
    """Hash of the meaning of all modules reachable from `roots`."""
    reached: set[str] = set()
    pending = list(roots)
    while pending:
        module = pending.pop()
        if module in reached or any(module == name or module.startswith(f"{name}.") for name in NEUTRAL):
            continue
        reached.add(module)
        pending += _imports(module)
    digest = hashlib.sha256()
    for module in sorted(reached):
        digest.update(f"{module}\0{_meaning(module)}\0".encode())
    return digest.hexdigest()


def _file(module: str) -> Path | None:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _tree(module: str) -> ast.Module:
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"{module}: no source file under {PACKAGE}")
    return ast.parse(path.read_text(), str(path))


@functools.cache
def _imports(module: str) -> list[str]:
    """Modules of this package that a module imports anywhere in it, for typing alone too (harmless, and simple)."""
    found = []
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [node.module, *(name for name in inner if name.startswith("lifelong.") and _file(name))]
    return [name for name in found if name.split(".")[0] == "lifelong" and name != "lifelong"]


@functools.cache
def _meaning(module: str) -> str:
    """The source without comments, docstrings and formatting."""
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)

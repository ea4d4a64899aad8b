"""What a result depends on, as one hash: the parameters, and all code of this package that its entry function can reach.

Reach is followed in the sources from definition to definition (functions, classes, constants), through every module: a name
that a definition uses, also in its annotations, leads to what it names. What runs when a reached module is imported
counts too. Comments, formatting, docstrings, annotations and the texts of errors do not. Values of `Section`s are in the
parameters, so of their classes only methods count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifelong.runtime.artifacts import json_digest

PACKAGE = Path(__file__).parents[1]

NEUTRAL = {
    "lifelong.runtime.artifacts": "moves arrays to files and back, checked by their own round-trip tests",
    "lifelong.runtime.provenance": "says how files were made, and refuses those that are not what is asked for",
    "lifelong.runtime.errors": "words an error; a stage that raises leaves no result",
    "lifelong.runtime.progress": "shows how far a job is",
    "lifelong.runtime.allocator": "decides where freed memory goes",
    "lifelong.runtime.places": "where files are looked for; what is found is checked by its content",
    "lifelong.training.checkpoints": "keeps progress; going on gives the same bytes, which tests prove",
    "lifelong.pipeline.fingerprints": "computes this hash; a stage asks for it to write it down",
    "lifelong.runtime.paths": "where the pipeline's own files lie",
    "lifelong.pipeline.stages": "says what a fingerprint is made of",
    "lifelong.pipeline.graph": "which files a stage reads; Snakemake tracks those as its inputs",
}
"""Modules whose code is in no fingerprint, and why none can change a number."""

Definition = tuple[str, str]
"""(module, name of a function, class or constant at its top level); the name `""` is what runs when it is imported."""


def fingerprint(parameters: Mapping[str, Any], entries: Iterable[str]) -> str:
    """Hash of parameters (JSON values) and of the code reachable from the entries.

    An entry is `module:function`, or a `module` for all that it defines.
    """
    return json_digest({"parameters": parameters, "code": code_digest(tuple(sorted(entries)))})


@functools.cache
def code_digest(entries: tuple[str, ...]) -> str:
    """Hash of the meaning of all definitions reachable from the entries."""
    digest = hashlib.sha256()
    for module, name in sorted(reachable(entries)):
        digest.update(f"{module}:{name}\0{_meaning(module, name)}\0".encode())
    return digest.hexdigest()


@functools.cache
def reachable(entries: tuple[str, ...]) -> frozenset[Definition]:
    """All definitions that the entries lead to, themselves among them."""
    reached: set[Definition] = set()
    pending: list[Definition] = []
    for entry in entries:
        module, _, name = entry.partition(":")
        _follow(module.partition(".")[0])
        if name and name not in _source(module).definitions:
            raise ModuleNotFoundError(f"{entry}: {module} defines no {name!r}")
        pending += [(module, name)] if name else _whole(module)
    while pending:
        definition = pending.pop()
        if definition in reached or definition[0] in NEUTRAL:
            continue
        reached.add(definition)
        pending += [(definition[0], ""), *_leads_to(*definition)]
    return frozenset(reached)


def _follow(package: str) -> None:
    """Sources of a plug-in's package count as this package's do, once one of its entries is asked for."""
    if package in _PLUG_INS or package == PACKAGE.name:
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package}: no source found; is it installed, or on PYTHONPATH?")
    _PLUG_INS[package] = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
    _leads_to.cache_clear()  # names that led nowhere may lead there now


@dataclass(frozen=True)
class _Source:
    """A module's statements by what they define, what runs at import, and what its imported names stand for."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> (module, its attribute or "")


_PLUG_INS: dict[str, Path] = {}
"""Packages, or single modules, of methods that are not this package's -> where their sources are."""


def _file(module: str) -> Path | None:
    package, *inner = module.split(".")
    root = PACKAGE if package == PACKAGE.name else _PLUG_INS.get(package)
    if root is None:
        return None
    if root.suffix == ".py":
        return root if not inner else None
    path = root.joinpath(*inner)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _source(module: str) -> _Source:
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"{module}: no source file under {PACKAGE}")
    source = _Source()
    for statement in ast.parse(path.read_text(), str(path)).body:
        _sort(statement, source)
    return source


def _sort(statement: ast.stmt, source: _Source) -> None:
    match statement:
        case ast.Import() | ast.ImportFrom():
            source.imports.update(_imported(statement))
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            for inner in statement.body:
                source.imports.update(_imported(inner))
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            source.definitions.setdefault(statement.name, []).append(statement)
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
            for name in names:
                source.definitions.setdefault(name, []).append(statement)
        case ast.Expr(value=ast.Constant()):
            pass
        case _:
            source.effects.append(statement)


def _imported(statement: ast.stmt) -> Iterator[tuple[str, tuple[str, str]]]:
    """(name, what it stands for) of the modules and definitions that a statement imports."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            top = alias.name.split(".")[0]
            yield (alias.asname, (alias.name, "")) if alias.asname else (top, (top, ""))
    elif isinstance(statement, ast.ImportFrom):
        module = str(statement.module)
        for alias in statement.names:
            inner = f"{module}.{alias.name}"
            yield alias.asname or alias.name, (inner, "") if _file(inner) else (module, alias.name)


@functools.cache
def _leads_to(module: str, name: str) -> tuple[Definition, ...]:
    """The definitions of this package that a definition names."""
    source = _source(module)
    statements = source.effects if name == "" else source.definitions.get(name)
    if statements is None:  # a name that the module has from elsewhere
        if name in source.imports:
            return tuple(_resolve(*source.imports[name]))
        inner = f"{module}.{name}"
        return tuple(_whole(inner)) if _file(inner) else ()
    result: list[Definition] = []
    for statement in statements:
        local = dict(pair for node in ast.walk(statement) if isinstance(node, ast.stmt) for pair in _imported(node))
        known = source.imports | local
        for root, *attributes in _names(statement):
            if root in known:
                result += _resolve(*known[root], *attributes)
            elif root in source.definitions:
                result.append((module, root))
    return tuple(dict.fromkeys(result))


def _names(node: ast.AST) -> Iterator[list[str]]:
    """Every name that is used below a node, with the attributes asked of it: `a.b.c` -> [a, b, c]."""
    attributes: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        attributes.insert(0, inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield [inner.id, *attributes]
        return
    for child in ast.iter_child_nodes(inner):
        yield from _names(child)


def _resolve(module: str, name: str, *attributes: str) -> list[Definition]:
    """What `module.name.attributes` is, if its source is known; of a module that is named alone, all it defines."""
    if name:
        return [(module, name)] if _file(module) else []
    for position, attribute in enumerate(attributes):
        inner = f"{module}.{attribute}"
        if _file(inner) is None:
            return [(module, attribute)] if _file(module) else []
        if position == len(attributes) - 1:
            return _whole(inner)
        module = inner
    return _whole(module) if _file(module) else []


def _whole(module: str) -> list[Definition]:
    return [(module, name) for name in ["", *_source(module).definitions]]


@functools.cache
def _meaning(module: str, name: str) -> str:
    """The source of a definition without what cannot change a result."""
    source = _source(module)
    statements = source.effects if name == "" else source.definitions.get(name, [])
    text = ""
    for statement in statements:
        if isinstance(statement, ast.ClassDef) and _is_section(module, name):
            own: list[ast.stmt] = [n for n in statement.body if isinstance(n, ast.FunctionDef) and not _validates(n)]
            statement = ast.ClassDef(statement.name, [], [], own or [ast.Pass()], [])
        copy = ast.parse(ast.unparse(ast.fix_missing_locations(statement)))  # the source itself is used again
        text += ast.unparse(_Meaning().visit(copy)) + "\n"
    return text


def _validates(function: ast.FunctionDef) -> bool:
    """Whether a method checks a section's values, which are in the parameters as it leaves them."""
    return any("_validator" in ast.unparse(decorator) for decorator in function.decorator_list)


@functools.cache
def _is_section(module: str, name: str) -> bool:
    """Whether a class is a part of params.yaml."""
    if (module, name) == ("lifelong.params.sections", "Section"):
        return True
    if _file(module) is None:
        return False
    source = _source(module)
    if name in source.imports and source.imports[name][1]:
        return _is_section(*source.imports[name])
    classes = [statement for statement in source.definitions.get(name, []) if isinstance(statement, ast.ClassDef)]
    bases = [base.id for one in classes for base in one.bases if isinstance(base, ast.Name)]
    return any(_is_section(module, base) for base in bases)


class _Meaning(ast.NodeTransformer):
    """Takes out docstrings and other bare constants, annotations, and the texts of errors."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(error, None)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return self.generic_visit(ast.Assert(node.test, None))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        target = self.visit(node.target)
        if node.value is None:
            return ast.Expr(target)
        return ast.copy_location(ast.Assign([target], self.visit(node.value)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


def forget() -> None:
    """Read all sources anew, after an edit."""
    _PLUG_INS.clear()
    for cached in (code_digest, reachable, _source, _leads_to, _meaning, _is_section):
        cached.cache_clear()

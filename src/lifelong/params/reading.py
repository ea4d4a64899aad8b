"""One YAML file: its values, and the line of each of its keys."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from lifelong.runtime.errors import UserError

SWEEP = "sweep"
"""The key of an experiment whose values name its variants, so that they are kept as they are written."""

_FLOAT, _MERGE, _TEXT = (f"tag:yaml.org,2002:{kind}" for kind in ("float", "merge", "str"))


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The values of a file, and by dotted key the line that each stands on.

    Raises:
        UserError: it cannot be read, is not YAML, or says something that no params file may say.
    """
    loader = _Loader(_read_text(path))
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            result = "nothing" if node is None else f"a {'list' if isinstance(node, yaml.SequenceNode) else 'value'}"
            raise UserError(f"{path}: found {result}; expected sections such as 'experiments' and 'reports'")
        check = _Check(path, loader)
        check.visit(node, "", [])
        return loader.construct_document(node), check.lines
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{path}{_explain(error)}") from None
    finally:
        loader.dispose()


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run this in the project's folder, or give --params") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected a file of YAML") from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: found the byte {content[error.start]:#04x}; expected UTF-8; save the file as UTF-8"
        ) from None
    strange = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if strange:
        line = text.count("\n", 0, strange.start()) + 1
        raise UserError(f"{path}, line {line}: found the character {strange[0]!r}; expected text; delete the character")
    return text


def _explain(error: yaml.MarkedYAMLError) -> str:
    """Line and cause of what is no YAML."""
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}" if mark else ""
    if "'\\t'" in str(error.problem):
        return f"{line}: found a tab at the start of the line; expected spaces; put two spaces for each tab"
    context = f" {error.context}" if error.context else ""
    return f"{line}: not valid YAML: {error.problem}{context}; mend this line or the one before it"


class _Check:
    """Walks a file before anything is made of it: what YAML lets pass and a params file may not say."""

    def __init__(self, path: Path, loader: _Loader) -> None:
        self.path = path
        self.lines: dict[str, int] = {}
        self._loader = loader

    def visit(self, node: yaml.Node, key: str, parents: list[yaml.Node]) -> None:
        if any(node is parent for parent in parents):
            raise self._fault(node, key, "found an anchor that holds itself; expected a value; write it out")
        if isinstance(node, yaml.MappingNode):
            self._visit_keys(node, key, parents)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self.visit(item, f"{key}.{number}", [*parents, node])
        elif node.tag == _FLOAT and not math.isfinite(self._loader.construct_object(node)):
            raise self._fault(node, key, f"found {node.value}; expected a finite number")

    def _visit_keys(self, node: yaml.MappingNode, above: str, parents: list[yaml.Node]) -> None:
        seen: dict[str, int] = {}
        for number, (key_node, value_node) in enumerate(node.value):
            key = f"{above}.{key_node.value}" if above else str(key_node.value)
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._fault(key_node, above, "found a list or mapping as a key; expected a name; write it as a value")
            if key_node.tag == _MERGE:
                raise self._fault(
                    key_node, key, "'<<' is not used here; write 'like: NAME', which merges deeply and across files"
                )
            line = key_node.start_mark.line + 1
            if key_node.value in seen:
                where = f"first in line {seen[key_node.value]}"
                remedy = "keep one, or put what both say under one of them"
                raise self._fault(key_node, key, f"{key_node.value!r} is given twice, {where}; {remedy}")
            seen[key_node.value] = line
            self.lines.setdefault(key, line)
            if key_node.value == SWEEP and isinstance(value_node, yaml.MappingNode):
                value_node = _label_values(value_node)
                node.value[number] = (key_node, value_node)
            self.visit(value_node, key, [*parents, node])

    def _fault(self, node: yaml.Node, key: str, text: str) -> UserError:
        return UserError(f"{self.path}, line {node.start_mark.line + 1}: {f'{key}: ' if key else ''}{text}")


def _label_values(sweep: yaml.MappingNode) -> yaml.MappingNode:
    """A sweep with every list of plain values as {text: value}: 1e-4 is called 1e-4, not 0.0001."""
    labelled = []
    for key, values in sweep.value:
        if isinstance(values, yaml.SequenceNode) and values.value and all(map(_is_plain, values.value)):
            pairs = [(yaml.ScalarNode(_TEXT, v.value, v.start_mark, v.end_mark), v) for v in values.value]
            values = yaml.MappingNode("tag:yaml.org,2002:map", pairs, values.start_mark, values.end_mark)
        elif isinstance(values, yaml.MappingNode):
            pairs = [
                (yaml.ScalarNode(_TEXT, k.value, k.start_mark, k.end_mark) if _is_plain(k) else k, v)
                for k, v in values.value
            ]
            values = yaml.MappingNode(values.tag, pairs, values.start_mark, values.end_mark)
        labelled.append((key, values))
    return yaml.MappingNode(sweep.tag, labelled, sweep.start_mark, sweep.end_mark)


def _is_plain(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


class _Loader(yaml.SafeLoader):
    """YAML as people expect it: 1e-3 is a number."""


_Loader.add_implicit_resolver(_FLOAT, re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))

"""How much code a candidate adds or removes: lines, and nodes of the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """What code amounts to. Comments, layout and blank lines weigh nothing."""

    lines: int
    nodes: int | None  # None where a file is no Python, or broken

    def over(self, other: Size) -> tuple[int, int | None]:
        """How many more lines and nodes than another; negative is simpler."""
        known = self.nodes is not None and other.nodes is not None
        nodes = (self.nodes or 0) - (other.nodes or 0) if known else None
        return self.lines - other.lines, nodes


def size(files: Mapping[str, bytes]) -> Size:
    """Of all editable files together."""
    lines = sum(_lines(name, content) for name, content in files.items())
    nodes = [_nodes(content) for name, content in files.items() if name.endswith(".py")]
    whole = len(nodes) == len(files) and None not in nodes
    return Size(lines, sum(filter(None, nodes)) if whole else None)


def _lines(name: str, content: bytes) -> int:
    mark = b"#" if name.endswith((".py", ".sh", ".toml", ".yaml", ".yml")) else b"\n"
    stripped = (line.strip() for line in content.splitlines())
    return sum(bool(line) and not line.startswith(mark) for line in stripped)


def _nodes(content: bytes) -> int | None:
    """Nodes of a Python file without its docstrings; None when it cannot be parsed."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes = list(ast.walk(tree))
    return len(nodes) - 2 * sum(_has_docstring(node) or _is_negative(node) for node in nodes)


def _is_negative(node: ast.AST) -> bool:
    """A number with a minus sign: it weighs what a number weighs."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return ast.get_docstring(node, clean=False) is not None

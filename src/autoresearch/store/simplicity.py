"""Size and fingerprint of code, without comments and layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from autoresearch.lab.source import SourceError, canonical, parse

FINGERPRINT = "2"  # version of `fingerprint`; a change of what it takes for equal is a new one


@dataclass(frozen=True)
class Size:
    """The size of code. Comments, layout and blank lines do not count."""

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
    tree = _parsed(content)
    if tree is None:
        return None
    nodes = list(ast.walk(tree))
    return len(nodes) - 2 * sum(_has_docstring(node) or _is_negative(node) for node in nodes)


def _is_negative(node: ast.AST) -> bool:
    """Whether it is a number with a minus sign, which counts as one number."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return ast.get_docstring(node, clean=False) is not None


def fingerprint(files: Mapping[str, bytes]) -> str:
    """Equal for equal code: Python without comments and layout, any other file byte for byte.

    It is the same in every version of Python. A study records its version, FINGERPRINT.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        code = canonical(files[name]) if name.endswith(".py") else None
        kind, content = ("bytes", files[name]) if code is None else ("tokens", code)
        digest.update(
            f"{name}\0{kind} {len(content)}\0".encode("utf-8", "surrogateescape") + content
        )
    return digest.hexdigest()[:32]


def _parsed(content: bytes) -> ast.Module | None:
    """The syntax tree, or None."""
    try:
        return parse(content)
    except SourceError:
        return None

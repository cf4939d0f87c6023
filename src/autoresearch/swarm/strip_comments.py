"""Take comments and docstrings out of other agents' code, since kept code is shown to proposers.

A text could hold instructions to a coding agent. Comments and docstrings that our own files hold
too may stay; the code stays as it is, with its names and the strings that it works with.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Collection, Iterator, Mapping

from autoresearch.lab.source import parse

_EMPTY = b'"."'  # takes a docstring's place
Span = tuple[int, int, int, int]  # from line and byte, to line and byte; lines from 1


def strip_comments(
    theirs: Mapping[str, bytes], ours: Collection[Mapping[str, bytes]]
) -> dict[str, bytes] | None:
    """Files of others without comments and docstrings that none of our files holds.

    None when a Python file cannot be parsed, or is not the same code afterwards.
    """
    known = {words for files in ours for name in files for words in _prose(name, files[name])}
    try:
        stripped = {name: _stripped(name, content, known) for name, content in theirs.items()}
        same = all(_code(name, stripped[name]) == _code(name, theirs[name]) for name in theirs)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return stripped if same else None


def _code(name: str, content: bytes) -> str | bytes:
    """What a file does: a Python file's syntax tree without docstrings."""
    if not name.endswith(".py"):
        return content
    tree = parse(content)
    for node in ast.walk(tree):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _stripped(name: str, content: bytes, known: Collection[str]) -> bytes:
    if not name.endswith(".py"):
        return content
    lines = content.splitlines(keepends=True)
    for (top, left, bottom, right), words, instead in sorted(_found(content), reverse=True):
        if words in known:
            continue
        head, tail = lines[top - 1][:left], lines[bottom - 1][right:]
        if not instead:
            head = head.rstrip()
        lines[top - 1 : bottom] = [head + instead + tail]
    return b"".join(lines)


def _prose(name: str, content: bytes) -> Iterator[str]:
    """The comments and docstrings of a file of ours; none when it cannot be parsed."""
    if name.endswith(".py"):
        try:
            yield from (words for _, words, _ in _found(content))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return


def _found(content: bytes) -> list[tuple[Span, str, bytes]]:
    """Each comment and docstring: where it stands, its text, and what replaces it."""
    lines = content.splitlines(keepends=True)
    if tokenize.detect_encoding(iter(lines).__next__)[0] not in ("utf-8", "utf-8-sig"):
        raise ValueError("not UTF-8")
    if b"\r" in content.replace(b"\r\n", b"\n"):
        raise ValueError("a line end that only some readers know")
    return [*_comments(content, lines), *_lone_strings(content)]


def _comments(content: bytes, lines: list[bytes]) -> Iterator[tuple[Span, str, bytes]]:
    try:
        for token in tokenize.tokenize(io.BytesIO(content).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                left = len(lines[row - 1].decode()[:column].encode())
                right = left + len(token.string.encode())
                yield (row, left, row, right), token.string, b""
    except tokenize.TokenError as error:
        raise ValueError(str(error)) from error


def _lone_strings(content: bytes) -> Iterator[tuple[Span, str, bytes]]:
    """Docstrings, and other strings that are statements by themselves."""
    for node in ast.walk(parse(content)):
        text = node.value if isinstance(node, ast.Expr) else None
        if isinstance(text, ast.JoinedStr) or (
            isinstance(text, ast.Constant) and isinstance(text.value, str | bytes)
        ):
            assert text.end_lineno is not None and text.end_col_offset is not None
            span = (text.lineno, text.col_offset, text.end_lineno, text.end_col_offset)
            yield span, ast.unparse(text), _EMPTY

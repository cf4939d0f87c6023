"""Quiet: strangers' code without strangers' prose, since what is kept is shown to proposers.

Comments and docstrings of Python that are not ours too are taken out; the code itself stays what it
is. Other strings that stand alone do nothing but speak: who has such is passed over. Strings and
names that the code works with remain: they are what was measured.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Collection, Iterator, Mapping

from autoresearch.store.simplicity import fingerprint

_SILENT = b'"."'  # in a docstring's place
Span = tuple[int, int, int, int]  # from line and byte, to line and byte; lines from 1


def quieted(
    theirs: Mapping[str, bytes], ours: Collection[Mapping[str, bytes]]
) -> dict[str, bytes] | None:
    """Others' files with no prose that is not in some of ours; None where that cannot be had."""
    known = {words for files in ours for name in files for words in _prose(name, files[name])}
    try:
        quiet = {name: _quieted(name, content, known) for name, content in theirs.items()}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return quiet if fingerprint(quiet) == fingerprint(theirs) else None


def _quieted(name: str, content: bytes, known: Collection[str]) -> bytes:
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
    """The comments and docstrings of a file of ours; none where it cannot be read."""
    if name.endswith(".py"):
        try:
            yield from (words for _, words, _ in _found(content))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return


def _found(content: bytes) -> list[tuple[Span, str, bytes]]:
    """Where comments and docstrings stand, what they say, and what may stand there instead."""
    lines = content.splitlines(keepends=True)
    if tokenize.detect_encoding(iter(lines).__next__)[0] not in ("utf-8", "utf-8-sig"):
        raise ValueError("not UTF-8")
    if b"\r" in content.replace(b"\r\n", b"\n"):
        raise ValueError("lines that only some readers take for lines")
    return [*_comments(content, lines), *_alone(content)]


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


def _alone(content: bytes) -> Iterator[tuple[Span, str, bytes]]:
    """Docstrings, and other strings that are statements of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(content)
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Expr) else None
        if isinstance(text, ast.JoinedStr) or (
            isinstance(text, ast.Constant) and isinstance(text.value, str | bytes)
        ):
            assert text.end_lineno is not None and text.end_col_offset is not None
            span = (text.lineno, text.col_offset, text.end_lineno, text.end_col_offset)
            yield span, ast.unparse(text), _SILENT

"""Reads source text that anybody may have written: the one address for parsing it.

`parse` is Python's parser behind limits. `canonical` has a lexer of its own, because Python's
tokens and trees differ from version to version, and because no text can make it slow or raise.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Any

MOST = 2 * 2**20  # bytes of a source that is parsed
LONGEST = 32 * 2**10  # characters of one f-string: Python 3.11 takes their square in time

_PIECE = re.compile(
    r"(?P<blank>[ \t\f]+|\\\n)"
    r"|(?P<comment>#[^\n]*)"
    r"|(?P<newline>\n)"
    r"|(?P<string>(?P<prefix>(?i:[bfr]?|u|t|br|rb|fr|rf|tr|rt))(?P<quote>\"\"\"|'''|\"|'))"
    r"|(?P<number>0[xX][0-9a-fA-F_]+|0[bBoO][0-9_]+"
    r"|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)?[jJ]?)"
    r"|(?P<name>(?:[A-Za-z_]|[^\x00-\x7f])(?:[A-Za-z0-9_]|[^\x00-\x7f])*)"
    r"|(?P<operator>\*\*=|//=|>>=|<<=|\.\.\.|->|:=|==|!=|<=|>=|<>|\+=|-=|\*=|/=|%=|&=|\|=|\^=|@="
    r"|\*\*|//|<<|>>|[-+*/%@&|^~<>()\[\]{},:.;=!?$`])"
)
_REST = {  # of a string without fields, behind its opening quote
    '"': re.compile(r'[^"\\\n]*(?:\\.[^"\\\n]*)*"', re.DOTALL),
    "'": re.compile(r"[^'\\\n]*(?:\\.[^'\\\n]*)*'", re.DOTALL),
    '"""': re.compile(r'[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""', re.DOTALL),
    "'''": re.compile(r"[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''", re.DOTALL),
}
_CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_GIVES = frozenset(["=", "return", "+=", "-=", "*=", "/=", "//=", "%=", "**=", "|=", "&=", "^="])
_NO_GROUP = frozenset([",", "for", "yield", ":="])  # directly in brackets, which then say more
_NEWLINE, _INDENT, _DEDENT = "\0n", "\0i", "\0d"  # marks: no token of a text holds a NUL


_ENDS = frozenset([_NEWLINE, ")", ",", ";"])


class SourceError(ValueError):
    """A text that is no Python source, or too much of one to be parsed."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def parse(source: str | bytes) -> ast.Module:
    """The syntax tree; SourceError for whatever is wrong with a text, and nothing else."""
    tree: ast.Module = _parse(source, "exec")
    return tree


def parse_expression(text: str) -> ast.expr:
    """The syntax tree of an expression; SourceError for whatever is wrong with a text."""
    tree: ast.Expression = _parse(text, "eval")
    return tree.body


def _parse(source: str | bytes, mode: str) -> Any:
    check_limits(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as those about an invalid escape "\d"
            return ast.parse(source, mode=mode)
    except SyntaxError as error:
        raise SourceError(error.msg, error.lineno) from error
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise SourceError(str(error) or type(error).__name__) from error


def canonical(content: bytes) -> bytes | None:
    """A Python source without comments and layout; None where its tokens are not beyond doubt.

    Equal for sources that differ in comments, blank lines, line ends, the width of an indentation,
    blanks between tokens, line breaks inside brackets, the quotes of a plain string, and brackets
    around the whole of what is assigned or returned, which a long line needs. Docstrings, other
    brackets, commas and the spelling of numbers count. It is the same in every version of Python.
    """
    try:
        text = content.decode("utf-8-sig")
        head = "\n".join(text.splitlines()[:2])
        if any(name.lower() not in ("utf-8", "utf8") for name in _CODING.findall(head)):
            return None
        return "\0\0".join(_without_groups(list(_Reader(text).tokens()))).encode()
    except (UnicodeError, SourceError):
        return None


def _without_groups(tokens: list[str]) -> list[str]:
    """Tokens without the brackets around the whole of what is assigned or returned."""
    dropped: set[int] = set()
    opened: list[tuple[int, set[str]]] = []  # each open bracket, and the tokens directly inside
    for place, token in enumerate(tokens):
        if token in _CLOSING and opened:
            start, inside = opened.pop()
            before, after = tokens[start - 1], tokens[place + 1 : place + 2]
            whole = start > 0 and before in _GIVES and after and after[0] in _ENDS
            plain = inside and not inside & _NO_GROUP and tokens[start + 1] not in ("*", "**")
            if token == ")" and whole and plain:
                dropped |= {start, place}
            if opened:
                opened[-1][1].add("()")
        elif token in _OPENING:
            opened.append((place, set()))
        elif opened:
            opened[-1][1].add(token)
    return [token for place, token in enumerate(tokens) if place not in dropped]


def check_limits(source: str | bytes) -> None:
    """SourceError for a text that would take Python's parser very long."""
    if len(source) > MOST:
        raise SourceError(f"it has {len(source):,} bytes; at most {MOST:,} are parsed")
    if len(source) <= LONGEST:
        return
    reader = _Reader(source if isinstance(source, str) else source.decode("utf-8", "replace"))
    try:
        for _ in reader.tokens():
            if reader.longest > LONGEST:
                much = f"an f-string has {reader.longest:,} characters; at most {LONGEST:,}"
                raise SourceError(f"{much} are parsed", reader.line)
    except Unsure:
        if reader.longest > LONGEST or reader.in_fields:  # else Python says what is wrong
            raise


class Unsure(SourceError):
    """A text whose tokens are in doubt, such as one with a string that is not ended."""


class _Reader:
    """Reads a text once, from its beginning to its end."""

    def __init__(self, text: str) -> None:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.text = text if text.endswith("\n") else f"{text}\n"
        self.at = 0
        self.longest = 0  # characters of the longest f-string so far
        self.in_fields = False  # inside an f-string

    @property
    def line(self) -> int:
        """The line that is read, from 1."""
        return self.text.count("\n", 0, self.at) + 1

    def tokens(self) -> Iterator[str]:
        """All tokens, with marks for the ends of lines and for indentations."""
        indents, depth, begins = [""], 0, True
        blank = ""
        while self.at < len(self.text):
            kind, piece = self._piece()
            if kind == "comment":
                continue
            if kind == "blank":
                if begins and piece == "\\\n":
                    raise Unsure("a line that begins with a backslash", self.line)
                blank = piece
            elif kind == "newline":
                if not begins and not depth:
                    yield _NEWLINE
                    begins = True
                blank = ""
            else:
                if begins:
                    yield from self._indentation(indents, blank)
                    begins = False
                depth += (piece in "([{") - (piece in ")]}") if kind == "operator" else 0
                if depth < 0:
                    raise Unsure("a bracket that was not opened", self.line)
                yield piece
        if depth:
            raise Unsure("a bracket that is not closed", self.line)
        yield from [_DEDENT] * (len(indents) - 1)

    def _piece(self) -> tuple[str, str]:
        """The next token, comment, blank or line end, with its kind."""
        start = self.at
        found = _PIECE.match(self.text, start)
        if found is None:
            raise Unsure(f"a character that begins no token: {self.text[start]!r}", self.line)
        self.at = found.end()
        if found["string"] is None:
            return str(found.lastgroup), found[0]
        prefix = found["prefix"].lower()
        if "f" in prefix or "t" in prefix:
            self._formatted(found["quote"], "r" in prefix)
            self.longest = max(self.longest, self.at - start)
        else:
            self._plain(found["quote"])
        return "string", _with_one_quote(self.text[start : self.at])

    def _indentation(self, indents: list[str], blank: str) -> Iterator[str]:
        """The marks before a line whose first token stands behind these blanks."""
        width = blank.rpartition("\f")[2]
        if width != indents[-1] and width.startswith(indents[-1]):
            indents.append(width)
            yield _INDENT
            return
        while indents[-1] != width:
            indents.pop()
            if not indents:
                raise Unsure("an indentation that fits none before it", self.line)
            yield _DEDENT

    def _plain(self, quote: str) -> None:
        """Over the rest of a string without fields."""
        rest = _REST[quote].match(self.text, self.at)
        if rest is None:
            raise Unsure("a string that is not ended", self.line)
        self.at = rest.end()

    def _formatted(self, quote: str, raw: bool) -> None:
        """Over the rest of an f-string, whose fields may hold strings with the same quotes."""
        self.in_fields = True
        stack: list[tuple[str, str, bool]] = [("text", quote, raw)]  # what is open, outermost first
        while stack:
            where, quote, raw = stack[-1]
            first, two = self.text[self.at : self.at + 1], self.text[self.at : self.at + 2]
            if not first or (first == "\n" and len(quote) == 1):
                raise Unsure("an f-string that is not ended", self.line)
            if where == "field":
                self._field(stack)
            elif first == "{" and (two != "{{" or where == "format"):
                self.at += 1
                stack.append(("field", quote, raw))
            elif where == "format" and first == "}":
                self.at += 1
                del stack[-2:]  # the format, and its field
            elif where == "text" and self.text.startswith(quote, self.at):
                self.at += len(quote)
                stack.pop()
            elif where == "text" and two == "\\N" and not raw:
                self.at = self.text.find("}", self.at) + 1 or len(self.text)
            else:
                escaped = first == "\\" and two[1:] not in ("{", "}")
                self.at += 2 if escaped or two in ("{{", "}}") else 1
        self.in_fields = False

    def _field(self, stack: list[tuple[str, str, bool]]) -> None:
        """Over one piece of an expression in a field; brackets in it are on the stack, too."""
        _, quote, raw = stack[-1]
        in_bracket = stack[-2][0] == "field"
        found = _PIECE.match(self.text, self.at)
        if found is None:
            raise Unsure("a character that begins no token", self.line)
        piece = found[0]
        self.at = found.end()
        if found["string"] is not None:
            prefix = found["prefix"].lower()
            if "f" in prefix or "t" in prefix:
                stack.append(("text", found["quote"], "r" in prefix))
            else:
                self._plain(found["quote"])
        elif piece[0] in "([{":
            stack.append(("field", quote, raw))
        elif piece[0] in ")]}":
            stack.pop()
        elif piece[0] == ":" and not in_bracket:
            self.at = found.start() + 1  # `:=` begins a format, too
            stack.append(("format", quote, raw))


def _with_one_quote(string: str) -> str:
    """A plain string in double quotes, where that changes nothing else."""
    body = string[1:-1]
    plain = string[0] == "'" and not string.startswith("'''")
    return string if not plain or '"' in body or "\\" in body else f'"{body}"'

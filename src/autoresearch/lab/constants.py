"""Reads the constants of a Python source with their search ranges, and replaces their literals.

A module-level constant whose trailing comment ends in a range is a knob:

    MATRIX_LR = 0.04       # matrix learning rate [log 0.005..0.2]
    WARMDOWN = 0.5         # share of the budget spent cooling down [0..1]
    DEPTH = 2              # layers [int 1..8]
    BATCH = 2**11          # tokens a step [1024 | 2048 | 4096]
    ACTIVATION = "relu2"   # of the MLP [relu2 | gelu | silu]

An integer whose bounds are written as integers stays an integer on every scale.
"""

from __future__ import annotations

import ast
import difflib
import io
import math
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from typing import TypeAlias

from autoresearch.errors import AutoResearchError, ProposerError
from autoresearch.lab.source import SourceError, parse, parse_expression

Value: TypeAlias = "int | float | str | bool | tuple[Value, ...] | None"

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"\s*(?:(log|int)\s+)?(\S+?)\s*\.\.\s*(\S+)\s*")
_BARE_WORD = re.compile(r"[A-Za-z_][\w.+-]*")
_POWER_OF_TWO = re.compile(r"(2\s*\*\*\s*|1\s*<<\s*)\d+")
_BOM = "\ufeff"
_EXACT = 2**53  # every integer up to this one is a float as well
_NUMBER = set(".0123456789")  # a number begins with one of these
_MOST_DIGITS = 1024  # binary digits of an integer; no float holds a larger one
_MOST_BITS = 128  # of a computed integer such as 2**17; a larger one is not read


class ConstantError(AutoResearchError, ValueError):
    """A constant cannot be replaced: unknown name, not a literal, or not a value to write."""


@dataclass(frozen=True)
class Log:
    """A number between two bounds, searched by ratio."""

    low: float
    high: float
    whole: bool = False  # an integer


@dataclass(frozen=True)
class Linear:
    """A number between two bounds, searched by difference."""

    low: float
    high: float


@dataclass(frozen=True)
class Int:
    """A whole number between two bounds, both allowed."""

    low: int
    high: int


@dataclass(frozen=True)
class Choices:
    """One of the values listed."""

    values: tuple[Value, ...]


Knob = Log | Linear | Int | Choices


@dataclass(frozen=True)
class Constant:
    """A module-level literal: its value, its position in the source, and its range, if any."""

    name: str
    value: Value
    span: tuple[int, int]  # characters of the source: first, and one past the last
    text: str  # the literal as written
    knob: Knob | None = None

    def written(self, value: object) -> str:
        """`value` as a literal, in the style of this constant's literal."""
        return _write(value, self.text, self.value, self.name)


def read(source: str, path: str = "<source>") -> dict[str, Constant]:
    """The literal constants of a source, by name; ProposerError names a syntax error's line."""
    return dict(_read(source, path))


@lru_cache(maxsize=8)
def _read(source: str, path: str) -> Mapping[str, Constant]:
    found: dict[str, Constant] = {}
    for name, node, comment in _assignments(source, path):
        found.pop(name, None)
        try:
            value = _evaluate(node)
        except (_NotLiteralError, OverflowError, RecursionError):  # too large, or nested too deep
            continue
        start, end = span = _span(source, node)
        found[name] = Constant(name, value, span, source[start:end], _knob(comment, value))
    return found


def replace(source: str, values: Mapping[str, object], path: str = "<source>") -> str:
    """The source with the literals of some constants replaced, and no other byte changed."""
    constants = read(source, path)
    for name in values:
        if name not in constants:
            raise ConstantError(_unknown(name, source, path, constants))
    edits = [(constants[name].span, constants[name].written(values[name])) for name in values]
    return _splice(source, edits)


def numbers(source: str, path: str = "<source>") -> list[Constant]:
    """Every finite number in a source, named by its line."""
    found = []
    for node in ast.walk(_parse(source.removeprefix(_BOM), path)):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.Constant) and isinstance(value, int | float):
            start, end = span = _span(source, node)
            text = source[start:end]
            # neither True nor a part of an f-string
            if text[:1] in _NUMBER and _is_finite(value):
                found.append(Constant(f"line {node.lineno}:", value, span, text))
    return sorted(found, key=lambda constant: constant.span)


def _splice(source: str, edits: Sequence[tuple[tuple[int, int], str]]) -> str:
    for (start, end), text in sorted(edits, reverse=True):
        source = source[:start] + text + source[end:]
    return source


def _unknown(name: str, source: str, path: str, constants: Mapping[str, Constant]) -> str:
    for other, node, _ in _assignments(source, path):
        if other == name:
            start, end = _span(source, node)
            return (
                f"{path}:{node.lineno}: {name} is not a literal: {source[start:end]!r}. Only "
                "numbers, strings, True, False, None and tuples of them can be replaced"
            )
    near = difflib.get_close_matches(name, constants, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"{path}: no constant {name}{hint} Known: {', '.join(constants) or 'none'}"


# Parsing -----------------------------------------------------------------------------------------


class _NotLiteralError(Exception):
    pass


def _assignments(source: str, path: str) -> Iterator[tuple[str, ast.expr, str]]:
    """Each `NAME = expression` of the module, with the comment after it, or ''."""
    body = source.removeprefix(_BOM)
    tree, comments = _parse(body, path), _comments(body)
    last_of_line = {statement.end_lineno: statement for statement in tree.body}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target: ast.expr = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign):
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name) and statement.value is not None:
            line = statement.end_lineno or statement.lineno
            comment = comments.get(line, "") if last_of_line[line] is statement else ""
            yield target.id, statement.value, comment


def _parse(source: str, path: str) -> ast.Module:
    try:
        return parse(source)
    except SourceError as error:
        place = f"{path}:{error.line}" if error.line else path
        raise ProposerError(f"{place}: not valid Python: {error}. Correct it first") from error


@lru_cache(maxsize=4)
def _lines(source: str) -> tuple[tuple[int, str], ...]:
    """Lines with their offsets, split as Python does: at \\n, \\r\\n and \\r."""
    lines = list(io.StringIO(source, newline=""))
    return tuple(zip(accumulate(map(len, lines), initial=0), lines, strict=False))


def _comments(source: str) -> dict[int, str]:
    found: dict[int, str] = {}
    lines = iter([line.rstrip("\r\n") + "\n" for _, line in _lines(source)])
    try:
        for token in tokenize.generate_tokens(lambda: next(lines, "")):
            if token.type == tokenize.COMMENT:
                found[token.start[0]] = token.string
    except (tokenize.TokenError, SyntaxError):
        pass  # `ast` accepted the source: keep the comments seen so far
    return found


def _span(source: str, node: ast.expr) -> tuple[int, int]:
    """Position of a node in characters; `ast` counts the columns of a line in UTF-8 bytes."""
    body = source.removeprefix(_BOM)
    lines, skipped = _lines(body), len(source) - len(body)
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    start = _offset(lines[node.lineno - 1], node.col_offset)
    return skipped + start, skipped + _offset(lines[end_line - 1], end_column)


def _is_finite(value: int | float) -> bool:
    """Whether a float can hold it; an integer of thousands of digits is too large."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _offset(line: tuple[int, str], column: int) -> int:
    start, text = line
    return start + len(text.encode()[:column].decode())


def _evaluate(node: ast.expr) -> Value:
    match node:
        case ast.Constant(value=int() as value) if value.bit_length() > _MOST_DIGITS:
            raise _NotLiteralError  # it cannot even be written out
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_evaluate(item) for item in items)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _number(operand)
        case ast.BinOp(left=left, op=operator, right=right):
            return _compute(_number(left), operator, _number(right))
    raise _NotLiteralError


def _number(node: ast.expr) -> int | float:
    value = _evaluate(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotLiteralError
    return value


def _compute(left: int | float, operator: ast.operator, right: int | float) -> int | float:
    """A product, power or shift; one that would be too large is not evaluated."""
    if isinstance(operator, ast.Mult):
        product = left * right
        if isinstance(product, int) and product.bit_length() > _MOST_DIGITS:
            raise _NotLiteralError
        return product
    if not isinstance(left, int) or not isinstance(right, int):
        raise _NotLiteralError
    if isinstance(operator, ast.Pow) and 0 <= right * left.bit_length() <= _MOST_BITS:
        return int(left**right)
    if isinstance(operator, ast.LShift) and 0 <= right <= _MOST_BITS - left.bit_length():
        return left << right
    raise _NotLiteralError


# Ranges ------------------------------------------------------------------------------------------


def _knob(comment: str, value: Value) -> Knob | None:
    for inside in reversed(_BRACKETS.findall(comment)):
        if (knob := _parse_range(inside, value) or _parse_choices(inside, value)) is not None:
            return knob
    return None


def _parse_range(inside: str, value: Value) -> Knob | None:
    match = _RANGE.fullmatch(inside)
    if match is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        low, high = _bound(match[2]), _bound(match[3])
    except (ValueError, OverflowError, RecursionError, _NotLiteralError):
        return None
    whole = all(isinstance(number, int) for number in (low, high, value))
    if match[1] == "int":
        low, high = math.ceil(low), math.floor(high)
    if not low < high or not math.isfinite(high - low):
        return None
    if match[1] == "log":
        return Log(low, high, whole) if low > 0 else None
    if whole or match[1] == "int":
        return Int(int(low), int(high))
    return Linear(low, high)


def _bound(text: str) -> int | float:
    bound = _number(parse_expression(text))
    if not math.isfinite(bound):
        raise _NotLiteralError
    return bound


def _parse_choices(inside: str, value: Value) -> Choices | None:
    options = [option.strip() for option in inside.split("|")]
    values: list[Value] = []
    for option in options:
        try:
            values.append(_choice(option, value))
        except (ValueError, OverflowError, RecursionError, _NotLiteralError):
            return None
    unique = tuple(dict.fromkeys(values))
    return Choices(unique) if len(options) > 1 and len(unique) > 1 else None


def _choice(option: str, value: Value) -> Value:
    """A literal, or a bare word for a string; for a string constant `16` is a string too."""
    if _BARE_WORD.fullmatch(option) and option not in ("True", "False", "None"):
        return option
    parsed = _evaluate(parse_expression(option))
    if isinstance(value, str) and isinstance(parsed, int | float):
        return option
    return parsed


# Writing -----------------------------------------------------------------------------------------


def _write(value: object, text: str, old: Value, name: str) -> str:
    """A value as a literal, in the style of the old literal `text`."""
    if isinstance(value, list | tuple):
        return _write_sequence(value, text, old, name)
    if value == old and type(value) is type(old):
        return text
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, int) and not (isinstance(old, float) and abs(value) <= _EXACT):
        return _write_int(value, text)
    if isinstance(value, int | float) and math.isfinite(value):
        return _write_float(float(value), text)
    if isinstance(value, str):
        return _write_string(value, text)
    raise ConstantError(
        f"{name} cannot be {value!r}: allowed are finite numbers, strings, True, False, None "
        "and tuples of them"
    )


def _write_int(value: int, text: str) -> str:
    power = _POWER_OF_TWO.fullmatch(text)
    if power and value > 1 and value & (value - 1) == 0:
        return f"{power[1]}{value.bit_length() - 1}"
    return f"{value:_}" if "_" in text else str(value)


def _write_float(value: float, text: str) -> str:
    """The shortest digits that give the same float, with an exponent if `text` has one."""
    if re.fullmatch(r"-?[\d.]+[eE][-+]?\d+", text) and value:
        short = format(Decimal(repr(value)).normalize(), "e")
    else:
        short = re.sub(r"e([-+])0+(?=\d)", r"e\1", repr(value))
    return short.replace("e+", "e")


def _write_string(value: str, text: str) -> str:
    quote, other = ('"', "'") if text.endswith('"') else ("'", '"')
    if quote in value:
        return repr(value)
    return quote + repr(value + other)[1:-2] + quote


def _write_sequence(value: Sequence[object], text: str, old: Value, name: str) -> str:
    """Replace element by element if the length is the same, to keep the layout in the brackets."""
    olds = old if isinstance(old, tuple) else ()
    spans = _element_spans(text) if olds else []
    texts = [text[start:end] for start, end in spans]
    if texts and len(texts) == len(value):
        pairs = zip(value, texts, olds, strict=True)
        written = [_write(item, was, before, name) for item, was, before in pairs]
        return _splice(text, list(zip(spans, written, strict=True)))
    style = (texts[0], olds[0]) if texts else ('""', "")
    items = [_write(item, *style, name) for item in value]
    if text.startswith("["):
        return f"[{', '.join(items)}]"
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _element_spans(text: str) -> list[tuple[int, int]]:
    node = parse_expression(text)
    items = node.elts if isinstance(node, ast.Tuple | ast.List) else []
    return [_span(text, item) for item in items]

"""The number that a study improves: its name and direction, and how it is read from a log."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["minimize", "maximize"]
Scale = Literal["linear", "log"]

# A statement is `val_bpb: 1.8640` alone on a line, or `METRIC val_bpb=1.8640` anywhere in it.
_NAME = r"[A-Za-z_][\w./-]*"
_COLON = re.compile(rf"\s*({_NAME})\s*:(.*)", re.DOTALL)
_METRIC = re.compile(rf"\bMETRIC\s+({_NAME})\s*=\s*([^\s,;|]*(?:,\d[^\s,;|]*)*)")
# What may follow the number of a METRIC statement: a remark in brackets or after a comma, a further
# `name=value`. A unit or a word may not: `METRIC error=0.9 s` is no number.
_AFTER = re.compile(rf"\s*(?:$|[,;|(\[]|METRIC\b|{_NAME}\s*=)")
# What a progress bar ends in, when a program prints its last line behind a bar without a line end.
_BAR_END = r"(?:(?<=[\]|%)#=>*}])|(?<=\.\.\.)|(?<=[^\x00-\x7f\w\s]))"

MOST_NUMBERS = 1000  # names that one log can set; if there are more, the last ones count
LONGEST = 1000  # characters of a number; a longer text is none


@dataclass(frozen=True)
class Metric:
    """A named number with a direction. Compare values by `better`, never by size."""

    name: str
    direction: Direction = "minimize"
    range: tuple[float, float] | None = None
    scale: Scale = "linear"  # log: the keep rule compares ratios

    def better(self, value: float | None, than: float | None) -> bool:
        """Whether `value` is strictly better; a missing value is worse than any number."""
        if value is None:
            return False
        if than is None:
            return True
        return value < than if self.direction == "minimize" else value > than

    def gain(self, value: float, over: float) -> float:
        """How much better `value` is than `over`, in the metric's unit; negative when worse."""
        return over - value if self.direction == "minimize" else value - over

    def worth(self, value: float) -> float:
        """A number that the keep rule compares: more is better; on a log scale the logarithm."""
        size = math.log(value) if self.scale == "log" else value
        return -size if self.direction == "minimize" else size

    def value_of(self, worth: float) -> float:
        """The value that has this worth."""
        size = (-worth if self.direction == "minimize" else worth) + 0.0  # never -0
        return math.exp(size) if self.scale == "log" else size

    def problem(self, value: float) -> str | None:
        """Why `value` is not a valid result, or None when it is."""
        if not math.isfinite(value):
            return f"{self.name} is {value}, not a finite number"
        if self.scale == "log" and value <= 0:
            return (
                f'{self.name} is {value:g}, and metric.scale is "log", which needs a number above 0'
            )
        if self.range and not self.range[0] <= value <= self.range[1]:
            low, high = self.range
            return f"{self.name} is {value:g}, outside its range {low:g} to {high:g}"
        return None


@dataclass(frozen=True)
class Statement:
    """What a line says about a name, and the number in it, if that is one."""

    name: str
    text: str  # as written, such as 0.9 or None
    value: float | None  # None where the text is no number; NaN and infinities are returned
    line: str

    def problem(self) -> str | None:
        """Why it gives no finite number, with the line quoted; None when it gives one."""
        if self.value is not None and math.isfinite(self.value):
            return None
        seen = f"{self.value}" if self.value is not None else _shown(self.text, 40) or "empty"
        hint = "; write it without a comma" if self.value is None and _is_grouped(self.text) else ""
        around = f" (the line is: {_shown(self.line, 100)})" if self.line else ""
        return f"{self.name} is {seen}, not a finite number{hint}{around}"


@dataclass(frozen=True)
class Line:
    """A piece of output to look for statements in."""

    text: str  # without control characters
    redrawn: bool = False  # it follows a carriage return: a progress bar may stand before a name
    begins: bool = True  # it is the beginning of its line, not a later part of a long one


def read_statements(lines: Iterable[Line], wanted: Iterable[str] = ()) -> dict[str, Statement]:
    """The last statement about each name; names that are wanted are found behind a bar, too."""
    behind = _Inside.of(tuple(wanted))
    found: dict[str, Statement] = {}
    for line in lines:
        for statement in _statements(line, behind):
            found.pop(statement.name, None)  # so that the order is that of each name's last line
            found[statement.name] = statement
        while len(found) > MOST_NUMBERS:
            del found[next(iter(found))]
    return found


def read_numbers(lines: Iterable[str]) -> dict[str, float]:
    """The number in the last statement about each name; a name whose last one has none is left out.

    >>> read_numbers(["loss: 0.9", "METRIC accuracy=0.5", "loss: pending"])
    {'accuracy': 0.5}
    """
    return numbers_of(read_statements(Line(line) for line in lines))


def numbers_of(statements: Mapping[str, Statement]) -> dict[str, float]:
    """The numbers in statements, by name; texts that are none are left out."""
    return {name: one.value for name, one in statements.items() if one.value is not None}


def readable(name: str) -> bool:
    """Whether a metric of this name can be found in a log."""
    return re.fullmatch(_NAME, name) is not None


def _statements(line: Line, behind: _Inside | None) -> Iterator[Statement]:
    """The statements of a line, first to last."""
    text = line.text
    if "METRIC" in text and (found := list(_METRIC.finditer(text))):
        for match in found:
            whole = match[2] if _AFTER.match(text, match.end()) else f"{match[2]}{_rest(match)}"
            yield _statement(match[1], whole, _from(text, match.start()))
        return
    alone = _COLON.fullmatch(text) if line.begins else None
    if alone:
        yield _statement(alone[1], _from(alone[2].strip(), 0), _from(text, 0))
    if behind is not None and ":" in text:
        yield from _behind_bar(line, behind, text.index(":") + 1 if alone else 0)


def _behind_bar(line: Line, behind: _Inside, start: int) -> Iterator[Statement]:
    """The statements that stand behind a progress bar which was not ended."""
    last: dict[str, re.Match[str]] = {}
    pattern = behind.redrawn if line.redrawn else behind.glued
    for match in pattern.finditer(line.text, start):
        last[match["name"]] = match  # an earlier one would be replaced by it
    for match in last.values():
        before = line.text[: match.start()].rstrip()
        said, text = _from(line.text, match.start()), _from(line.text, match.end())
        if match["glued"] is None and before[-1:].isalpha():
            text = (
                f"{before[-20:]} {said}"  # `best error: 0.1` of a bar is perhaps another quantity
            )
        yield _statement(match["name"], text, said)


def _from(text: str, place: int) -> str:
    """A text from a place on, cut where it is too long for any number."""
    return text[place : place + LONGEST + 1]


@dataclass(frozen=True)
class _Inside:
    """Finds names inside a line."""

    glued: re.Pattern[str]  # directly behind what a progress bar ends in
    redrawn: re.Pattern[str]  # anywhere but in a longer name: for a line that was redrawn

    @classmethod
    def of(cls, names: tuple[str, ...]) -> _Inside | None:
        """For these names; None without any."""
        if not names:
            return None
        one_of = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        rest = rf"(?P<name>{one_of})\s*:(?!:)"
        glued = f"(?P<glued>{_BAR_END})"
        anywhere = rf"(?:{glued}|(?<![A-Za-z_./-])){rest}"
        return cls(re.compile(glued + rest), re.compile(anywhere))


def _statement(name: str, text: str, line: str) -> Statement:
    return Statement(name, text.strip()[:LONGEST], _number(text.strip()), line.strip()[:LONGEST])


def _rest(match: re.Match[str]) -> str:
    """The text behind a METRIC statement, so that it is seen why it is no number."""
    return match.string[match.end() : match.end() + 40]


def _number(text: str) -> float | None:
    """A printed float. NaN and infinities are returned, for `Statement.problem` to name.

    No comma: `0,997` may be a decimal and `1,234` a thousand, and nobody can tell which.
    """
    if "_" in text or not text.isascii() or len(text) > LONGEST:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _is_grouped(text: str) -> bool:
    return re.fullmatch(r"[+-]?[\d.]+(,[\d.]+)+", text) is not None


def _shown(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

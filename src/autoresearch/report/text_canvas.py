"""A grid of characters to draw a staircase on, in Unicode or in ASCII."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # braille, row by column


@dataclass(frozen=True)
class Cell:
    """Some characters of one kind."""

    sign: str
    kind: str = ""


@dataclass(frozen=True)
class Signs:
    """The characters to draw with."""

    marks: Mapping[str, str]  # kind -> mark
    flat: str
    upright: str
    turns: Mapping[str, str]  # the corners of the stairs
    tick: str
    wall: str
    corner: str
    floor: str
    braille: bool

    def fit(self, text: str) -> str:
        """The text in characters that this terminal can print."""
        if self.braille:
            return text
        for fancy, simple in (("−", "-"), ("–", "-"), ("→", "->"), ("…", "...")):
            text = text.replace(fancy, simple)
        return text.encode("ascii", "replace").decode()


_UNICODE = Signs(
    marks={"keep": "●", "step": "◇", "discard": "∙", "crash": "×", "off": "▴"},
    flat="─", upright="│",
    turns={"right-down": "╮", "down-right": "╰", "right-up": "╯", "up-right": "╭"},
    tick="┤", wall="│", corner="└", floor="─", braille=True,
)  # fmt: skip
_ASCII = Signs(
    marks={"keep": "O", "step": "o", "discard": ".", "crash": "x", "off": "^"},
    flat="-", upright="|",
    turns={"right-down": "+", "down-right": "+", "right-up": "+", "up-right": "+"},
    tick="+", wall="|", corner="+", floor="-", braille=False,
)  # fmt: skip


def signs(ascii_only: bool) -> Signs:
    """The characters for a terminal."""
    return _ASCII if ascii_only else _UNICODE


class Canvas:
    """Columns by lines; x and y are shares (0 to 1) of width and height, from the top left."""

    def __init__(self, width: int, height: int, sign: Signs) -> None:
        self.width, self.height, self.sign = width, height, sign
        self._cells: dict[tuple[int, int], Cell] = {}  # (line, column)
        self._dust: dict[tuple[int, int], set[tuple[int, int]]] = {}  # dots inside a cell

    def mark(self, x: float, y: float, kind: str) -> None:
        """A mark that covers what is there."""
        self._cells[self._row(y), self._column(x)] = Cell(self.sign.marks[kind], kind)

    def dot(self, x: float, y: float, aside: int) -> None:
        """A small mark; where the cell is taken, a line above (`aside` -1) or below (1) it.

        Small marks that share a cell become braille dots.
        """
        line, column = self._row(y), self._column(x)
        row = min(int(y * self.height * 4), self.height * 4 - 1) % 4
        if (line, column) in self._cells and 0 <= line + aside < self.height:
            line, row = line + aside, 3 if aside < 0 else 0
        if (line, column) in self._cells:
            self._cells[line, column] = Cell(self.sign.marks["discard"], "discard")
        half = int(x * self.width * 2) % 2
        self._dust.setdefault((line, column), set()).add((row, half))

    def stairs(self, corners: Sequence[tuple[float, float]]) -> None:
        """A line of stairs: flat to the next corner's column, then upright to its height."""
        cells = [(self._column(x), self._row(y)) for x, y in corners]
        for (c0, l0), (c1, l1) in pairwise(cells):
            for column in range(c0, c1 if l0 != l1 else c1 + 1):
                self._cells[l0, column] = Cell(self.sign.flat, "line")
            if l0 != l1:
                self._riser(c1, l0, l1)

    def lines(self) -> list[list[Cell]]:
        """The picture, top line first."""
        return [[self._cell(line, c) for c in range(self.width)] for line in range(self.height)]

    def _riser(self, column: int, start: int, end: int) -> None:
        down = end > start
        for line in range(min(start, end) + 1, max(start, end)):
            self._cells[line, column] = Cell(self.sign.upright, "line")
        first, last = ("right-down", "down-right") if down else ("right-up", "up-right")
        self._cells[start, column] = Cell(self.sign.turns[first], "line")
        self._cells[end, column] = Cell(self.sign.turns[last], "line")

    def _cell(self, line: int, column: int) -> Cell:
        if (drawn := self._cells.get((line, column))) is not None:
            return drawn
        dots = self._dust.get((line, column))
        if not dots:
            return Cell(" ")
        if len(dots) == 1 or not self.sign.braille:
            return Cell(self.sign.marks["discard"], "discard")
        return Cell(chr(0x2800 + sum(_DOTS[r][c] for r, c in dots)), "discard")

    def _row(self, y: float) -> int:
        return min(self.height - 1, max(0, int(y * self.height)))

    def _column(self, x: float) -> int:
        return min(self.width - 1, max(0, int(x * self.width)))

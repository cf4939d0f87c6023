"""How crowded a part of the chart is, without a look at every mark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

Line = tuple[float, float, float, float]  # x, y of the start; x, y of the end

_CELL = 3.0  # pixels
_STEPS = 16  # samples along a line


@dataclass(frozen=True)
class Box:
    """A rectangle, left to right and top to bottom; pixels, y grows down."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: Box, gap: float = 0.0) -> bool:
        """Whether the two are nearer than `gap`."""
        apart = self.x1 + gap <= other.x0 or other.x1 + gap <= self.x0
        return not (apart or self.y1 + gap <= other.y0 or other.y1 + gap <= self.y0)

    def holds(self, x: float, y: float, gap: float = 0.0) -> bool:
        """Whether a point is inside, or nearer than `gap`."""
        return self.x0 - gap < x < self.x1 + gap and self.y0 - gap < y < self.y1 + gap


class Occupancy:
    """Counts of marks in cells of a few pixels, summed so that a box costs four look-ups."""

    def __init__(self, width: float, height: float, boxes: Iterable[Box]) -> None:
        self._columns, self._rows = int(width / _CELL) + 2, int(height / _CELL) + 2
        cells = [[0] * self._columns for _ in range(self._rows)]
        for box in boxes:
            c0, c1, r0, r1 = self._span(box)
            for row in range(r0, r1):
                for column in range(c0, c1):
                    cells[row][column] += 1
        self._cells = cells
        self._sums = [[0] * (self._columns + 1)]
        for line in cells:
            above = self._sums[-1]
            run = accumulate(line, initial=0)
            self._sums.append([a + r for a, r in zip(above, run, strict=True)])

    def under(self, box: Box) -> int:
        """How many marked cells lie under a box."""
        c0, c1, r0, r1 = self._span(box)
        top, bottom = self._sums[r0], self._sums[r1]
        return bottom[c1] - bottom[c0] - top[c1] + top[c0]

    def along(self, line: Line) -> int:
        """How many samples along a line are marked, its beginning excepted."""
        cells = (self._cell(x, y) for x, y in samples(line))
        return sum(self._cells[row][column] > 0 for row, column in cells)

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        row, column = int(y / _CELL), int(x / _CELL)
        return min(max(row, 0), self._rows - 1), min(max(column, 0), self._columns - 1)

    def _span(self, box: Box) -> tuple[int, int, int, int]:
        r0, c0 = self._cell(box.x0, box.y0)
        r1, c1 = self._cell(box.x1, box.y1)
        return c0, c1 + 1, r0, r1 + 1


def samples(line: Line) -> Iterator[tuple[float, float]]:
    """Places along a line without its first eighth, where it leaves its own mark."""
    x0, y0, x1, y1 = line
    for step in range(_STEPS // 8, _STEPS + 1):
        share = step / _STEPS
        yield x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

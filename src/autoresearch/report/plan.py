"""Plan: the layout of the staircase chart, computed without a drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from autoresearch.report.labels import Label, Plot, Point, place, shortened, text_width
from autoresearch.report.occupancy import Box
from autoresearch.report.scale import Scale, fit
from autoresearch.report.story import Position, Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import plain

WIDTH, HEIGHT = 1040, 470  # of the plot, pixels
LABEL_SIZE = 10.5
_EDGE = 9  # pixels from the worse edge to the marks of values off the axis
_LABELS = 40  # at most: more cannot be read
_KINDS = {Status.KEEP: "kept", Status.TENTATIVE: "step", Status.DISCARD: "discarded"}


class Plan:
    """The place of each mark and label of a story, in pixels and in the units of the axes."""

    def __init__(self, story: Story) -> None:
        self.positions: Sequence[Position] = [s for s in story.positions if not s.row.skipped]
        keeps = [s for s in self.positions if s.row.status is Status.KEEP]
        best_room = 0.09 + 0.014 * min(len(keeps), 14)  # for labels: no trial lies there
        self.scale: Scale = fit(story.rows, story.metric).padded(best=best_room, worst=0.09)
        numbers = [row.number for row in story.rows] or [0]
        margin = max(0.6, 0.015 * (max(numbers) - min(numbers)))
        self.across = (min(numbers) - margin, max(numbers) + margin)
        self.labels: tuple[Label, ...] = self._labels(keeps)

    def x(self, trial: float) -> float:
        """Pixel of a trial's number, from the left."""
        return WIDTH * (trial - self.across[0]) / (self.across[1] - self.across[0])

    def y(self, position: Position) -> float:
        """Pixel of a trial's mark, from the top; a value off the axis is at the worse edge."""
        value = position.row.value
        if value is None or self.scale.off(value):
            return _EDGE if self.scale.best_is_low else HEIGHT - _EDGE
        return HEIGHT * (1 - self.scale.at(value))

    def datum(self, x: float, y: float) -> tuple[float, float]:
        """A pixel in the units of the axes."""
        across = self.across[0] + (self.across[1] - self.across[0]) * x / WIDTH
        return across, self.scale.value(1 - y / HEIGHT)

    def stairs(self) -> list[tuple[int, float]]:
        """The corners of the best so far, (trial, value), to the last trial."""
        steps = [(s.row.number, s.best) for s in self.positions if s.record and s.best is not None]
        return [*steps, (self.positions[-1].row.number, steps[-1][1])] if steps else []

    def kind(self, position: Position) -> str:
        """The name of its kind in the legend."""
        row = position.row
        if row.value is None:
            return "crashed" if row.status is Status.CRASH else "no value"
        if self.scale.off(row.value):
            return "off the scale"
        return _KINDS[row.status]

    def asides(self) -> list[tuple[Box, str]]:
        """Values off the scale, as text beside their marks where there is room."""
        edge = [s for s in self.positions if self.kind(s) not in _KINDS.values()]
        ends = [self.x(s.row.number) - 6 for s in edge[1:]] + [WIDTH]
        found = []
        for position, end in zip(edge, ends, strict=False):
            if self.kind(position) == "off the scale":
                text, x, y = (
                    f"{position.row.value:.5g}",
                    self.x(position.row.number) + 8,
                    self.y(position),
                )
                box = Box(x, y - 7, x + text_width(text, LABEL_SIZE), y + 7)
                found += [(box, text)] if box.x1 < end else []
        return found

    def _labels(self, keeps: Sequence[Position]) -> tuple[Label, ...]:
        points = [
            Point(s.row.number, self.x(s.row.number), self.y(s), _text(s), _weight(s))
            for s in keeps
        ]
        points.sort(key=lambda point: -point.weight)
        most, rest = points[:_LABELS], points[_LABELS:]
        walls = self._walls() + [Box(p.x - 5, p.y - 5, p.x + 5, p.y + 5) for p in rest]
        others = [s for s in self.positions if s.row.status is not Status.KEEP]
        dots = [(self.x(s.row.number), self.y(s)) for s in others]
        return place(most, Plot(WIDTH, HEIGHT, LABEL_SIZE, walls, dots))

    def _walls(self) -> list[Box]:
        """The staircase and the values off the scale, as boxes that no label may touch."""
        corners = [(self.x(n), HEIGHT * (1 - self.scale.at(v))) for n, v in self.stairs()]
        boxes = []
        for (x0, y0), (x1, y1) in pairwise(corners):
            boxes.append(Box(x0, y0 - 3, x1, y0 + 3))
            boxes.append(Box(x1 - 3, min(y0, y1), x1 + 3, max(y0, y1)))
        return boxes + [Box(box.x0 - 12, box.y0, box.x1, box.y1) for box, _ in self.asides()]


def _text(position: Position) -> str:
    return shortened(plain(position.row.note)) or f"#{position.row.number}"


def _weight(position: Position) -> float:
    """The baseline first, then the larger gain."""
    return float("inf") if position.before is None else abs(position.delta or 0.0)

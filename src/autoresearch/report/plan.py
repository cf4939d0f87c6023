"""Plan: the layout of the staircase chart, computed without a drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from autoresearch.report.labels import Label, Plot, Point, place, shortened, text_width
from autoresearch.report.occupancy import Box
from autoresearch.report.scale import Scale, fit
from autoresearch.report.story import Position, Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import plain
from autoresearch.strategies import CONFIRMER


@dataclass(frozen=True)
class Size:
    """The size of a plot in pixels, and how many labels of which length it may have."""

    width: int
    height: int
    labels: int
    note: int  # characters


LARGE = Size(996, 500, 40, 40)
SMALL = Size(262, 240, 2, 18)  # for a telephone
WIDTH, HEIGHT = LARGE.width, LARGE.height
LABEL_SIZE = 12.0
_EDGE = 9  # pixels from the worse edge to the marks of values off the axis
_WORST_ROOM = 0.09  # share of the axis beyond its worst value: labels, values off the axis
_STATUSES = {Status.KEEP: "kept", Status.TENTATIVE: "step", Status.DISCARD: "discarded"}


class Plan:
    """The place of each mark and label of a story, in pixels and in the units of the axes."""

    def __init__(self, story: Story, size: Size = LARGE) -> None:
        self.story, self.size = story, size
        self.positions: Sequence[Position] = [s for s in story.positions if not s.row.skipped]
        keeps = [s for s in self.positions if s.row.status is Status.KEEP]
        self.scale: Scale = fit(story.rows, story.metric)
        best_room = 0.09 + 0.014 * min(len(keeps), 14)  # for labels: no trial lies there
        rooms = (best_room, _WORST_ROOM) if self.scale.best_is_low else (_WORST_ROOM, best_room)
        self._below, self._above = rooms
        numbers = [row.number for row in story.rows] or [0]
        margin = max(0.6, 0.015 * (max(numbers) - min(numbers)))
        self.across = (min(numbers) - margin, max(numbers) + margin)
        self.labels: tuple[Label, ...] = self._labels(keeps)

    def x(self, trial: float) -> float:
        """Pixel of a trial's number, from the left."""
        return self.size.width * (trial - self.across[0]) / (self.across[1] - self.across[0])

    def height(self, value: float) -> float:
        """Pixel of a value, from the top. Room for labels lies beyond both ends of the axis."""
        whole = 1 + self._below + self._above
        return self.size.height * (1 - (self._below + self.scale.at(value)) / whole)

    def y(self, position: Position) -> float:
        """Pixel of a trial's mark, from the top; a value off the axis is at the worse edge."""
        value = position.row.value
        if value is None or self.scale.off(value):
            return _EDGE if self.scale.best_is_low else self.size.height - _EDGE
        return self.height(value)

    def datum(self, x: float, y: float) -> tuple[float, float]:
        """A pixel in the units of the axes."""
        across = self.across[0] + (self.across[1] - self.across[0]) * x / self.size.width
        whole = 1 + self._below + self._above
        return across, self.scale.value((1 - y / self.size.height) * whole - self._below)

    def stairs(self) -> list[tuple[int, float]]:
        """The corners of the last keep's value, (trial, value), to the last trial."""
        steps = [(s.row.number, s.best) for s in self.positions if s.record and s.best is not None]
        return [*steps, (self.positions[-1].row.number, steps[-1][1])] if steps else []

    def tip_line(self) -> list[tuple[int, float]]:
        """The corners from the last keep along the open steps to the tip, (trial, value)."""
        steps = self.story.open_steps
        kept = [s for s in self.positions if s.record and s.best is not None]
        if not steps or not kept or kept[-1].best is None:
            return []
        climbed = [(s.row.number, s.row.value) for s in steps if s.row.value is not None]
        start = (kept[-1].row.number, kept[-1].best)
        return [start, *climbed, (self.positions[-1].row.number, climbed[-1][1])]

    def trial_ticks(self) -> list[int]:
        """Round trial numbers, far enough apart for their texts."""
        if not self.positions:
            return []
        first, last = self.positions[0].row.number, self.positions[-1].row.number
        room = max(3, self.size.width // 70)
        steps = (factor * 10**power for power in range(12) for factor in (1, 2, 5))
        step = next(step for step in steps if (last - first) / step <= room)
        return list(range(-(-first // step) * step, last + 1, step))

    def kind(self, position: Position) -> str:
        """The name of its kind in the legend."""
        row = position.row
        if row.value is None:
            return "crashed" if row.status is Status.CRASH else "no value"
        if self.scale.off(row.value):
            return "off the scale"
        if row.proposer == CONFIRMER and row.status is Status.DISCARD:
            return "not confirmed"
        return _STATUSES.get(row.status, "no value")

    def asides(self) -> list[tuple[Box, str]]:
        """Values off the scale, as text beside their marks where there is room."""
        edge = [s for s in self.positions if s.row.value is None or self.scale.off(s.row.value)]
        ends = [self.x(s.row.number) - 6 for s in edge[1:]] + [float(self.size.width)]
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
            Point(s.row.number, self.x(s.row.number), self.y(s), self._text(s), _weight(s))
            for s in keeps
        ]
        points += self._tip_label()
        points.sort(key=lambda point: -point.weight)
        most, rest = points[: self.size.labels], points[self.size.labels :]
        walls = self._walls() + [Box(p.x - 5, p.y - 5, p.x + 5, p.y + 5) for p in rest]
        others = [s for s in self.positions if s.row.status is not Status.KEEP]
        dots = [(self.x(s.row.number), self.y(s)) for s in others]
        return place(most, Plot(self.size.width, self.size.height, LABEL_SIZE, walls, dots))

    def _tip_label(self) -> list[Point]:
        """What the dashed line ends in, in words."""
        steps = self.story.open_steps
        if not steps:
            return []
        text = f"{len(steps)} step{'s' if len(steps) > 1 else ''}, not confirmed"
        tip = steps[-1]
        at = self.x(tip.row.number), self.y(tip)
        return [Point(tip.row.number, *at, text, float("inf"))]

    def _walls(self) -> list[Box]:
        """The lines and the values off the scale, as boxes that no label may touch."""
        boxes = []
        for line in (self.stairs(), self.tip_line()):
            corners = [(self.x(number), self.height(value)) for number, value in line]
            for (x0, y0), (x1, y1) in pairwise(corners):
                boxes.append(Box(x0, y0 - 3, x1, y0 + 3))
                boxes.append(Box(x1 - 3, min(y0, y1), x1 + 3, max(y0, y1)))
        return boxes + [Box(box.x0 - 12, box.y0, box.x1, box.y1) for box, _ in self.asides()]

    def _text(self, position: Position) -> str:
        """The words of a keep: its note, or its strongest step's and how many more there are."""
        stack = self.story.stacks.get(position.row.number)
        more = "" if stack is None or len(stack.steps) < 2 else f" +{len(stack.steps) - 1} more"
        note = position.row.note if stack is None or not stack.steps else stack.lead
        text = shortened(plain(note), self.size.note - len(more)) + more
        return text if text != more else f"#{position.row.number}{more}"


def _weight(position: Position) -> float:
    """The baseline first, then the larger gain."""
    return float("inf") if position.before is None else abs(position.delta or 0.0)

"""Where the labels of a chart go: no two touch, none hides the staircase, some find no place.

Greedy, the most important first: each label takes the cheapest free place around its point. A
place costs more the farther it is and the more points it covers. Units are pixels, y grows down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from autoresearch.report.occupancy import Box, Line, Occupancy, samples

Side = Literal["left", "right"]  # of the point, where the text stands

_NARROW, _WIDE = set("iljtfrI.,:;'|!()[] -·"), set("mwMW@%—…")
_GAP = 3.0  # pixels between two labels
_STEP = 7.0  # pixels between two heights that are tried
_FAR = 36  # heights that are tried above and below
_REACH = (9.0, 24.0, 48.0, 80.0, 120.0, 170.0)  # horizontal distances that are tried


@dataclass(frozen=True)
class Point:
    """A mark that needs a label."""

    key: int
    x: float
    y: float
    text: str
    weight: float  # the heaviest is placed first


@dataclass(frozen=True)
class Label:
    """A label and its place."""

    key: int
    text: str
    side: Side
    box: Box
    leader: Line | None  # x, y of the point; x, y of the text

    @property
    def anchor(self) -> tuple[float, float]:
        """Where the text begins (side right) or ends (side left), vertically in its middle."""
        x = self.box.x0 if self.side == "right" else self.box.x1
        return x, (self.box.y0 + self.box.y1) / 2


@dataclass(frozen=True)
class Plot:
    """What is drawn already."""

    width: float
    height: float
    size: float  # of the font
    walls: Sequence[Box] = ()  # the staircase and other marks: no text may touch them
    dots: Sequence[tuple[float, float]] = ()  # points: text should not cover them

    @cached_property
    def walls_map(self) -> Occupancy:
        """Where the walls are."""
        return Occupancy(self.width, self.height, self.walls)

    @cached_property
    def dots_map(self) -> Occupancy:
        """Where the dots are, one cell each."""
        return Occupancy(self.width, self.height, [Box(x, y, x, y) for x, y in self.dots])


def place(points: Sequence[Point], plot: Plot) -> tuple[Label, ...]:
    """A label for every point that has room for one, in the order of their keys.

    Three orders of placing are tried and each is settled; the cheapest result wins.
    """
    orders = [
        sorted(points, key=lambda p: (-p.weight, p.key)),
        sorted(points, key=lambda p: p.key),
        sorted(points, key=lambda p: -p.key),
    ]
    marks = [Box(p.x - 5, p.y - 5, p.x + 5, p.y + 5) for p in points]
    room = {point.key: _room(point, marks, plot) for point in points}
    results = [_settled(order, room) for order in orders]
    best = min(results, key=lambda placed: _total(points, placed))
    return tuple(label for _, (_, label) in sorted(best.items()))


_Placed = dict[int, tuple[float, Label]]  # key -> cost, label
_Room = dict[int, list[tuple[float, Label]]]  # key -> cost, label; cheapest first


def _settled(order: Sequence[Point], room: _Room) -> _Placed:
    """Place in this order, then move labels to cheaper free places until none moves (3 rounds)."""
    placed: _Placed = {}
    for _ in range(3):
        before = dict(placed)
        for point in order:
            placed.pop(point.key, None)
            others = [label for _, label in placed.values()]
            found = next((item for item in room[point.key] if _clear(item[1], others)), None)
            if found is not None:
                placed[point.key] = found
        if placed == before:
            break
    return placed


def _total(points: Sequence[Point], placed: _Placed) -> float:
    """The cost of a result; a missing label costs more than any place, the heaviest the most."""
    missing = [point.weight for point in points if point.key not in placed]
    heaviest = max((point.weight for point in points), default=0.0)
    costs = sum(cost for cost, _ in placed.values())
    return costs + 2000.0 * len(missing) + 50_000.0 * missing.count(heaviest)


def text_width(text: str, size: float) -> float:
    """Pixels of a line in Helvetica or a similar font, estimated from above."""
    return size * sum(
        0.36 if c in _NARROW
        else 0.93 if c in _WIDE
        else 1.05 if ord(c) > 0x2E7F
        else 0.72 if c.isupper()
        else 0.58
        for c in text
    )  # fmt: skip


def shortened(note: str, limit: int = 40) -> str:
    """A note cut to its beginning: first a closing parenthesis goes, then the last words."""
    if len(note) > limit and note.endswith(")") and "(" in note[1:]:
        note = note[: note.rindex("(")].rstrip() or note
    if len(note) <= limit:
        return note
    cut = note[: limit - 1]
    words = cut if note[limit - 1] == " " else cut.rsplit(" ", 1)[0]
    return (words if len(words) > limit // 2 else cut).rstrip(" ,;:(") + "…"


def _room(point: Point, marks: Sequence[Box], plot: Plot) -> list[tuple[float, Label]]:
    """All places that touch nothing drawn, with their cost, cheapest first."""
    found = []
    for cost, label in _candidates(point, plot):
        blocked = plot.walls_map.under(label.box) or any(label.box.meets(m) for m in marks)
        if not blocked:
            found.append((cost + _crowding(label, plot), label))
    return sorted(found, key=lambda item: item[0])


def _candidates(point: Point, plot: Plot) -> Iterator[tuple[float, Label]]:
    """All places inside the plot, each with the cost of its distance."""
    width, half = text_width(point.text, plot.size), plot.size * 0.6
    for step in range(-_FAR, _FAR + 1):
        y = point.y + _STEP * step
        if not half <= y <= plot.height - half:
            continue
        for reach in _REACH:
            for side in ("right", "left"):
                x0 = point.x + reach if side == "right" else point.x - reach - width
                if x0 >= 2 and x0 + width <= plot.width - 2:
                    box = Box(x0, y - half, x0 + width, y + half)
                    cost = _distance(abs(y - point.y), reach) + (10 if side == "left" else 0)
                    yield cost, _label(point, side, box)


def _distance(up: float, across: float) -> float:
    """The cost of a leader: its length, with a surcharge beyond 70 pixels."""
    length = math.hypot(up, across - _REACH[0])
    return length + max(0.0, length - 70) * 0.6


def _label(point: Point, side: str, box: Box) -> Label:
    y = (box.y0 + box.y1) / 2
    x = box.x0 - 2 if side == "right" else box.x1 + 2
    near = abs(y - point.y) < 5 and abs(x - point.x) < 12
    leader = None if near else (point.x, point.y, x, y)
    return Label(point.key, point.text, "right" if side == "right" else "left", box, leader)


def _clear(label: Label, others: Sequence[Label]) -> bool:
    """Whether neither the text nor its leader touches another label."""
    return not any(
        label.box.meets(other.box, _GAP)
        or _cuts(label.leader, other.box)
        or _cuts(other.leader, label.box)
        or _cross(label.leader, other.leader)
        for other in others
    )


def _crowding(label: Label, plot: Plot) -> float:
    """The cost of what a place hides: dots under text or leader, walls under the leader."""
    box = label.box
    wide = Box(box.x0 - 4, box.y0 - 4, box.x1 + 4, box.y1 + 4)
    cost = 30.0 * plot.dots_map.under(wide)
    if label.leader is not None:
        cost += 5.0 * plot.dots_map.along(label.leader)
        cost += 8.0 * plot.walls_map.along(label.leader)
    return cost


def _cuts(leader: Line | None, box: Box) -> bool:
    """Whether a leader passes through a box."""
    if leader is None or max(leader[0], leader[2]) < box.x0 or min(leader[0], leader[2]) > box.x1:
        return False
    return any(box.holds(x, y, 1) for x, y in samples(leader))


def _cross(a: Line | None, b: Line | None) -> bool:
    """Whether two leaders cross."""
    if a is None or b is None:
        return False
    return _sides(a, b) and _sides(b, a)


def _sides(line: Line, other: Line) -> bool:
    """Whether the ends of the other line lie on two sides of this one."""
    x0, y0, x1, y1 = line
    start = (x1 - x0) * (other[1] - y0) - (y1 - y0) * (other[0] - x0)
    end = (x1 - x0) * (other[3] - y0) - (y1 - y0) * (other[2] - x0)
    return start * end < 0

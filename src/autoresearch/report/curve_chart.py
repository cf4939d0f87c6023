"""Training curves of a few trials, side by side in one SVG of the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from autoresearch.report import draw
from autoresearch.report.plan import LABEL_SIZE, WIDTH
from autoresearch.report.rendering import templates
from autoresearch.report.scale import Scale
from autoresearch.report.story import Story
from autoresearch.store.rows import Curve, Row, plain

if TYPE_CHECKING:
    from markupsafe import Markup

HEIGHT = 260
_RECENT = 4  # curves of the last trials, besides the best and the baseline
_LABEL_ROOM = 216  # pixels at the right for the names
_START = 0.03  # share of the progress that the axis may cut off: losses are too high there


@dataclass(frozen=True)
class StyledCurve:
    """A curve with its name and style."""

    style: str  # best, plain or recent
    name: str
    curve: Curve


def chosen(story: Story) -> tuple[StyledCurve, ...]:
    """The last few curves, the baseline's and the best's, in this order: the best is on top."""
    best, first = story.summary.best, story.summary.baseline
    ends = {"best": best.trial if best else None, "baseline": first.trial if first else None}
    rows = [row for row in story.rows if len(row.curve) > 1]
    recent = [row for row in rows if row.number not in ends.values()][-_RECENT:]
    drawn = [StyledCurve("recent", _name(row), row.curve) for row in recent]
    for row in rows:
        if row.number == ends["baseline"] != ends["best"]:
            drawn.append(StyledCurve("plain", _name(row, "baseline"), row.curve))
    for row in rows:
        if row.number == ends["best"]:
            drawn.append(StyledCurve("best", _name(row, "best"), row.curve))
    return tuple(drawn)


class CurvesDrawing:
    """Loss over progress as the template draws it, every curve named at its end."""

    left, right, top, bottom = 62, _LABEL_ROOM, 26, 42  # margins, pixels
    height = HEIGHT

    def __init__(self, curves: Iterable[StyledCurve]) -> None:
        self.curves = tuple(curves)
        self.low, self.high = _range(self.curves)
        self.width = WIDTH + 88 - self.left - self.right
        losses = [loss for drawn in self.curves for _, loss in drawn.curve]
        seen = (max(self.low, min(losses)), min(self.high, max(losses)))
        self.scale = Scale(self.low, self.high, log=False, best_is_low=True, seen=seen)
        self.sentence = "Training loss over the share of the budget: " + "; ".join(
            f"{drawn.name} ends at {drawn.curve[-1][1]:.4g}" for drawn in self.curves
        )

    def ticks(self) -> list[tuple[float, str]]:
        """Horizontal grid lines: place and text."""
        return [(self._y(value), text) for value, text in self.scale.ticks(5)]

    def shares(self) -> list[tuple[float, str]]:
        """Texts below: place and share of the budget."""
        return [(self.width * percent / 100, f"{percent} %") for percent in range(0, 101, 20)]

    def lines(self) -> list[tuple[StyledCurve, str, float]]:
        """Each curve, its path, and the height of its name."""
        ends = _stacked(self.curves, self.low, self.high)
        return [
            (drawn, self._path(drawn.curve), self._y(end))
            for drawn, end in zip(self.curves, ends, strict=True)
        ]

    def _path(self, curve: Curve) -> str:
        places = [f"{min(x, 1.0) * self.width:.1f} {self._y(loss):.1f}" for x, loss in curve]
        return "M" + "L".join(places)

    def _y(self, loss: float) -> float:
        return HEIGHT * (1 - self.scale.at(loss))


def curves_svg(curves: Iterable[StyledCurve]) -> Markup:
    """The curves as a part of the page, which colours them."""
    from markupsafe import Markup

    drawing = CurvesDrawing(curves)
    return Markup(
        templates()
        .get_template("curves.svg")
        .render(chart=drawing, font=draw.FONT, size=LABEL_SIZE)
    )


def _name(row: Row, role: str = "") -> str:
    note = plain(row.note)
    text = f"#{row.number} {role or note}"
    return text if len(text) <= 30 else text[:29].rstrip() + "…"


def _range(curves: Iterable[StyledCurve]) -> tuple[float, float]:
    """From the lowest loss to the highest after the start; outliers do not count."""
    losses = [loss for d in curves for _, loss in d.curve]
    late = [loss for d in curves for progress, loss in d.curve if progress >= _START] or losses
    low, high = min(losses), min(max(late), median(late) + 4 * (median(late) - min(late)))
    if high <= low:
        high = low + (abs(low) * 0.01 or 1.0)
    return low - 0.06 * (high - low), high + 0.04 * (high - low)


def _stacked(curves: tuple[StyledCurve, ...], low: float, high: float) -> list[float]:
    """Heights of the names, in losses: near the ends of their curves, without overlap."""
    pitch = 16 * (high - low) / HEIGHT
    order = sorted(range(len(curves)), key=lambda i: curves[i].curve[-1][1])
    heights, floor = [0.0] * len(curves), low + pitch / 2
    for index in order:
        heights[index] = max(min(curves[index].curve[-1][1], high), floor)
        floor = heights[index] + pitch
    ceiling = high - pitch / 2
    for index in reversed(order):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - pitch
    return heights

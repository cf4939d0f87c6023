"""Training curves of a few trials, side by side in one Altair chart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from autoresearch.report import draw
from autoresearch.report.plan import LABEL_SIZE, WIDTH
from autoresearch.report.story import Story
from autoresearch.store.rows import Curve, Row, plain

HEIGHT = 260
_RECENT = 4  # curves of the last trials, besides the best and the baseline
_LABEL_ROOM = 190  # pixels at the right for the names
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


def curves_chart(curves: Iterable[StyledCurve]) -> Any:
    """An altair.LayerChart of loss over progress, every curve named at its end."""
    alt, curves = draw.altair(), tuple(curves)
    low, high = _range(curves)
    plot = WIDTH - _LABEL_ROOM
    x = alt.X(
        "x:Q",
        title="share of the budget",
        scale=alt.Scale(domain=[0, 1], nice=False, clamp=True),
        axis=alt.Axis(format=".0%", grid=False, tickCount=5),
    )
    y = alt.Y(
        "y:Q",
        title="training loss",
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(domain=False, tickCount=5),
    )
    layers = []
    for drawn, end in zip(curves, _stacked(curves, low, high), strict=True):
        values = [{"x": p, "y": loss, "trial": drawn.name} for p, loss in drawn.curve]
        line = alt.Chart(alt.Data(values=values)).mark_line(
            style=drawn.style, strokeWidth=1.8 if drawn.style == "best" else 1.1, clip=True
        )
        layers.append(line.encode(x=x, y=y, tooltip=alt.Tooltip("trial:N")))
        name = alt.Chart(alt.Data(values=[{"y": end, "text": drawn.name}])).mark_text(
            style="label" if drawn.style == "best" else "aside",
            x=plot + 8, align="left", baseline="middle", fontSize=LABEL_SIZE,
        )  # fmt: skip
        layers.append(name.encode(y=y, text="text:N"))
    return alt.layer(*layers).properties(width=plot, height=HEIGHT, padding=4)


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
    pitch = 15 * (high - low) / HEIGHT
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

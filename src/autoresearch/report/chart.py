"""The staircase as an Altair chart, for the interactive page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoresearch.report import draw
from autoresearch.report.plan import HEIGHT, LABEL_SIZE, WIDTH, Plan
from autoresearch.report.story import Position, Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import plain

_CROSS = "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z"
_MARKS = {  # kind -> shape, area; in the order of the palette's colours
    "kept": ("circle", 46),
    "step": ("diamond", 44),
    "discarded": ("circle", 20),
    "not confirmed": ("square", 30),
    "crashed": (_CROSS, 30),
    "off the scale": ("triangle", 34),
    "no value": ("diamond", 30),
}


def staircase_chart(story: Story) -> Any:
    """An altair.LayerChart: every trial a mark, the last keep a line, keeps labelled.

    It names styles, never colours: those are in `draw.palette`.
    """
    return _Chart(story).layers()


class _Chart:
    """The layers of one chart, over one plan and one pair of axes."""

    def __init__(self, story: Story) -> None:
        self.alt, self.story, self.plan = draw.altair(), story, Plan(story)
        self.at = {"x": self._across(), "y": self._up()}

    def layers(self) -> Any:
        """The chart of all layers, back to front."""
        layers = [self._tip(), self._line(), self._leaders(), self._points(), self._asides()]
        layers += [self._labels("left"), self._labels("right"), self._hover()]
        return self.alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, padding=4)

    def _across(self) -> Any:
        scale = self.alt.Scale(domain=list(self.plan.across), nice=False, zero=False)
        axis = self.alt.Axis(grid=False, format="d", tickMinStep=1)
        return self.alt.X("x:Q", title="trial", scale=scale, axis=axis)

    def _up(self) -> Any:
        scale, metric = self.plan.scale, self.story.metric
        better = "lower" if metric.direction == "minimize" else "higher"
        form = "~g" if scale.log else f",.{scale.decimals}f"
        (_, low), (_, high) = self.plan.datum(0, HEIGHT), self.plan.datum(0, 0)
        return self.alt.Y(
            "y:Q",
            title=f"{plain(metric.name)} ({better} is better)",
            scale=self.alt.Scale(
                type="log" if scale.log else "linear",
                domain=[low, high],
                nice=False,
                zero=False,
            ),
            axis=self.alt.Axis(format=form, domain=False, values=[v for v, _ in scale.ticks()]),
        )

    def _over(self, values: Sequence[dict[str, Any]]) -> Any:
        return self.alt.Chart(self.alt.Data(values=list(values)))

    def _line(self) -> Any:
        return self._stairs(self.plan.stairs(), "best", strokeWidth=1.8)

    def _tip(self) -> Any:
        return self._stairs(self.plan.tip_line(), "tip", strokeWidth=1.6, strokeDash=[5, 4])

    def _stairs(self, corners: Sequence[tuple[int, float]], style: str, **look: Any) -> Any:
        values = [{"x": trial, "y": value} for trial, value in corners]
        line = self._over(values).mark_line(interpolate="step-after", style=style, **look)
        return line.encode(**self.at)

    def _leaders(self) -> Any:
        values = []
        for x0, y0, x1, y1 in (label.leader for label in self.plan.labels if label.leader):
            start, end = self.plan.datum(x0, y0), self.plan.datum(x1, y1)
            values.append({"x": start[0], "y": start[1], "x2": end[0], "y2": end[1]})
        rule = self._over(values).mark_rule(style="leader", strokeWidth=0.8)
        return rule.encode(**self.at, x2="x2:Q", y2="y2:Q")

    def _points(self) -> Any:
        drawn = sorted(self.plan.positions, key=lambda s: s.row.status is Status.KEEP)
        values = [self._mark(position) for position in drawn]
        present = [kind for kind in _MARKS if any(v["kind"] == kind for v in values)]
        legend = self.alt.Legend(
            title=None, orient="top-right", direction="horizontal", values=present,
            columnPadding=14, offset=-26,
        )  # fmt: skip
        flip = "-up" if self.plan.scale.best_is_low else "-down"
        shapes = [s + flip if s == "triangle" else s for s, _ in _MARKS.values()]
        sizes = [area for _, area in _MARKS.values()]
        kinds = list(_MARKS)

        def by_kind(channel: Any, **scale: Any) -> Any:
            scaled = self.alt.Scale(domain=kinds, **scale)
            return channel("kind:N", scale=scaled, legend=legend, sort=kinds)

        return (
            self._over(values)
            .mark_point(filled=True, opacity=1)
            .encode(
                **self.at,
                color=by_kind(self.alt.Color),
                shape=by_kind(self.alt.Shape, range=shapes),
                size=by_kind(self.alt.Size, range=sizes, type="ordinal"),
            )
        )

    def _asides(self) -> Any:
        values = []
        for box, text in self.plan.asides():
            x, y = self.plan.datum(box.x0, (box.y0 + box.y1) / 2)
            values.append({"x": x, "y": y, "text": text})
        return self._texts(values, "aside", "left")

    def _labels(self, side: str) -> Any:
        values = []
        for label in self.plan.labels:
            x, y = self.plan.datum(*label.anchor)
            values += [{"x": x, "y": y, "text": label.text}] if label.side == side else []
        return self._texts(values, "label", "left" if side == "right" else "right")

    def _texts(self, values: Sequence[dict[str, Any]], style: str, align: str) -> Any:
        text = self._over(values).mark_text(
            style=style, fontSize=LABEL_SIZE, align=align, baseline="middle"
        )
        return text.encode(**self.at, text="text:N")

    def _hover(self) -> Any:
        """Invisible marks, large enough for a finger, with the tooltips."""
        values = [self._mark(s) | self._tooltip(s) for s in self.plan.positions]
        names = ("trial", "note", "score", "delta", "status", "commit", "memory")
        tips = [self.alt.Tooltip(f"{name}:N", title=name) for name in names]
        points = self._over(values).mark_point(filled=True, opacity=0, size=190, cursor="pointer")
        return points.encode(**self.at, tooltip=tips)

    def _mark(self, position: Position) -> dict[str, Any]:
        x, y = self.plan.datum(self.plan.x(position.row.number), self.plan.y(position))
        return {"x": x, "y": y, "kind": self.plan.kind(position)}

    def _tooltip(self, position: Position) -> dict[str, Any]:
        row, digits = position.row, self.story.summary.digits
        delta = digits.difference(position.delta)
        metric, reason = plain(self.story.metric.name), plain(row.reason)
        return {
            "trial": row.number,
            "note": plain(row.note),
            "score": "none" if row.value is None else f"{digits.value(row.value)} {metric}",
            "delta": f"{delta} to what it started from" if delta else "–",
            "status": f"{row.word} ({reason})" if reason else row.word,
            "commit": plain(row.commit)[:12],
            "memory": f"{row.memory_gb:.1f} GiB" if row.memory_gb else "–",
        }

"""The staircase of one tier as SVG: the best so far, as claimed and as others measured it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from agenthub.records.results import Result
from agenthub.server.page.axis import Axis, spanned
from agenthub.server.page.labels import Box, Label, Wish, placed, shortened
from agenthub.server.page.markup import Html, html, joined, line, number
from agenthub.server.page.reading import Dot, Tier
from agenthub.validation import clean_line

NOTE = 38  # characters of a description in the picture
LABELS = 14


@dataclass(frozen=True)
class Size:
    """How large a chart is, and what goes into it."""

    width: int
    height: int
    font: float
    left: int
    labelled: bool


LARGE = Size(1080, 400, 12, 74, True)
SMALL = Size(480, 250, 13, 78, False)


@dataclass(frozen=True)
class _Chart:
    slug: str
    tier: Tier
    recent: tuple[Dot, ...]  # of this tier
    across: Axis
    up: Axis
    size: Size


def staircase(slug: str, tier: Tier, recent: Sequence[Dot], now: int, size: Size) -> Html:
    """The picture; a tier without kept results has none."""
    steps = (*tier.claimed_steps, *tier.replicated_steps)
    if not steps:
        return Html("")
    own = tuple(r for r in recent if r.tier == tier.name)
    chart = _Chart(
        slug, tier, own, _across(steps, own, now, size), _up(steps, own, tier, size), size
    )
    lines = [
        _line(chart, tier.claimed_steps, "claimed"),
        _line(chart, tier.replicated_steps, "replicated"),
    ]
    return html(
        '<svg class="stairs {kind}" viewBox="0 0 {w} {h}" role="group" aria-label="{told}">'
        "<title>{told}</title>{axes}{dots}{lines}{labels}{marks}</svg>",
        kind="large" if size.labelled else "small",
        w=size.width, h=size.height, told=_told(tier), axes=_axes(chart), dots=_dots(chart),
        lines=joined(lines), labels=_labels(chart) if size.labelled else "", marks=_marks(chart),
    )  # fmt: skip


def cost(result: Result) -> float:
    """The value that is drawn: what others measured, or what is claimed."""
    value = result.mean if result.verdict == "confirmed" else None
    return value if value is not None else (result.value or 0.0)


# ---- axes --------------------------------------------------------------------------------------


def _across(steps: Sequence[Result], recent: Sequence[Dot], now: int, size: Size) -> Axis:
    times = [float(step.created) for step in steps] + [float(dot.created) for dot in recent]
    end = max(times)
    latest = min(float(now), end + 0.04 * (end - min(times)) + 60)
    return spanned([*times, latest], size.left, size.width - 24, pad=0.02)


def _up(steps: Sequence[Result], recent: Sequence[Dot], tier: Tier, size: Size) -> Axis:
    """Room for the steps that can be believed, and for others as far as they do not flatten
    these: where much was replicated, no wild claim sets the scale."""
    sure = tier.replicated_steps if len(tier.replicated_steps) > 1 else steps
    values = [value for step in sure for value in (step.value, step.mean) if value is not None]
    low, high = min(values), max(values)
    worse = 0.35 * (high - low)
    better = high - low
    below, above = (better, worse) if steps[0].direction == "lower" else (worse, better)
    others = [step.value for step in steps if step.value is not None]
    others += [dot.value for dot in recent]
    shown = [value for value in others if low - below <= value <= high + above]
    return spanned([*values, *shown], size.height - 34, 18, pad=0.1)


def _axes(chart: _Chart) -> Html:
    size, bottom = chart.size, chart.up.start
    grid = [
        html(
            '<path class="grid" d="M{x0} {y}H{x1}"/><text class="axis" x="{tx}" y="{ty}" '
            'text-anchor="end">{text}</text>',
            x0=size.left, x1=size.width - 24, y=_(chart.up.at(value)), tx=size.left - 10,
            ty=_(chart.up.at(value) + 4), text=text,
        )
        for value, text in chart.up.ticks(6 if size.labelled else 4)
    ]  # fmt: skip
    times = [
        html(
            '<text class="axis" x="{x}" y="{y}" text-anchor="middle">{text}</text>',
            x=_(chart.across.at(value)), y=size.height - 10, text=text,
        )
        for value, text in chart.across.times(8 if size.labelled else 4)
    ]  # fmt: skip
    floor = html(
        '<path class="floor" d="M{x0} {y}H{x1}"/>',
        x0=size.left, x1=size.width - 24, y=_(bottom),
    )  # fmt: skip
    return joined([*grid, floor, *times])


# ---- what is drawn -----------------------------------------------------------------------------


def _corners(chart: _Chart, steps: Sequence[Result], kind: str) -> list[tuple[float, float]]:
    def value(step: Result) -> float:
        shown = step.mean if kind == "replicated" else step.value
        return shown if shown is not None else cost(step)

    places = [(chart.across.at(step.created), chart.up.at(value(step))) for step in steps]
    return [*places, (chart.across.end, places[-1][1])] if places else []


def _line(chart: _Chart, steps: Sequence[Result], kind: str) -> Html:
    corners = _corners(chart, steps, kind)
    if not corners:
        return Html("")
    path = f"M{_(corners[0][0])} {_(corners[0][1])}"
    path += "".join(f"H{_(x)}V{_(y)}" for x, y in corners[1:])
    return html('<path class="best {kind}" d="{path}"/>', kind=kind, path=path)


def _dots(chart: _Chart) -> Html:
    """The newest results, whatever became of them."""
    return joined(
        html(
            '<circle class="dust" cx="{x}" cy="{y}" r="2.2"/>',
            x=_(chart.across.at(r.created)), y=_(chart.up.at(r.value)),
        )
        for r in chart.recent
        if chart.up.holds(r.value)
    )  # fmt: skip


def _marks(chart: _Chart) -> Html:
    """A mark for each step, which leads to its commit."""
    found = [_mark(chart, step, "claimed") for step in chart.tier.claimed_steps]
    found += [_mark(chart, step, "replicated") for step in chart.tier.replicated_steps]
    return joined(found)


def _mark(chart: _Chart, step: Result, kind: str) -> Html:
    (x, y), *_rest = _corners(chart, [step], kind)
    return html(
        '<a href="/p/{slug}/commit/{sha}" tabindex="-1"><circle class="hit" cx="{x}" cy="{y}" '
        'r="9"/><circle class="step {kind}" cx="{x}" cy="{y}" r="{r}"/><title>{told}</title></a>',
        slug=chart.slug, sha=step.commit or step.named, x=_(x), y=_(y), kind=kind,
        r=4.2 if kind == "replicated" else 3.4, told=_step(step, kind),
    )  # fmt: skip


def _step(step: Result, kind: str) -> Html:
    value = step.mean if kind == "replicated" and step.mean is not None else step.value
    parts = [f"{step.metric} {number(value or 0.0)} {kind}", step.agent, (step.commit or "")[:12]]
    if kind == "replicated" and step.value is not None:
        parts.append(f"claimed {number(step.value)}")
    return joined([*parts, line(step.description, 160)], Html(" · "))


def _labels(chart: _Chart) -> Html:
    size = chart.size
    steps = _told_steps(chart)
    wishes = [
        Wish(*_corners(chart, [step], kind)[0], shortened(clean_line(step.description, 200), NOTE))
        for step, kind in steps
        if step.description.strip()
    ]
    room = Box(size.left + 4, 8, size.width - 6, chart.up.start - 4)
    found = placed(wishes, room, _walls(chart), size.font)
    return joined(_label(label) for label in found)


def _told_steps(chart: _Chart) -> list[tuple[Result, str]]:
    """The steps worth a label: replicated before claimed, larger gains before small ones."""
    found: list[tuple[int, float, Result, str]] = []
    named = {step.seq for step in chart.tier.replicated_steps}
    for rank, (kind, steps) in enumerate(
        (("replicated", chart.tier.replicated_steps), ("claimed", chart.tier.claimed_steps))
    ):
        before = [None, *steps][: len(steps)]
        for last, step in zip(before, steps, strict=True):
            gain = abs(cost(step) - cost(last)) if last is not None else math.inf
            if kind == "replicated" or step.seq not in named:
                found.append((rank, -gain, step, kind))
    found.sort(key=lambda each: each[:2])
    return [(step, kind) for _rank, _gain, step, kind in found[:LABELS]]


def _walls(chart: _Chart) -> list[Box]:
    """The two staircases, as boxes that no word may touch."""
    found = []
    for kind, steps in (
        ("claimed", chart.tier.claimed_steps),
        ("replicated", chart.tier.replicated_steps),
    ):
        for (x0, y0), (x1, y1) in pairwise(_corners(chart, steps, kind)):
            found.append(Box(x0 - 4, y0 - 4, x1 + 4, y0 + 4))
            found.append(Box(x1 - 3, min(y0, y1), x1 + 3, max(y0, y1)))
    return found


def _label(label: Label) -> Html:
    leader = Html("")
    if label.leader:
        leader = html(
            '<path class="leader" d="M{x0} {y0}L{x1} {y1}"/>',
            x0=_(label.wish.x), y0=_(label.wish.y), x1=_(label.x), y1=_(label.y),
        )  # fmt: skip
    return html(
        '{leader}<text class="note" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>',
        leader=leader, x=_(label.x), y=_(label.y + 4), text=label.wish.text,
        anchor="start" if label.start else "end",
    )  # fmt: skip


def _told(tier: Tier) -> str:
    said = [f"Best so far on {tier.name}"]
    for kind, found in (("claimed", tier.claimed), ("replicated", tier.replicated)):
        if found:
            value = found[0].value if kind == "claimed" else found[0].mean
            said.append(f"{kind} {number(value or 0.0)} by {found[0].agent}")
    return "; ".join(said)


def _(value: float) -> str:
    return f"{value:.1f}"

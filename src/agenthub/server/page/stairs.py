"""The staircase of one tier: the best value so far, as claimed and as others measured it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from agenthub.records.results import Result
from agenthub.server.page.reading import Dot, Tier
from agenthub.server.page.rendering import number
from agenthub.validation import clean_line

NOTE = 38  # characters of a description in the picture
LABELS = 14
_NARROW, _WIDE = set("iljtfrI.,:;'|!()[] -·"), set("mwMW@%—…")
_HALF = 7.0  # half the height of a line of text
_AWAY = (9.0, 16.0, 26.0, 40.0, 58.0, 80.0, 104.0)  # distances to try, in pixels
_TIMES = (60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000)
_MOST, _LEAST = 1e100, 1e-200  # largest value and smallest span that are drawn


@dataclass(frozen=True)
class Size:
    """The size of a chart, and whether it has labels."""

    width: int
    height: int
    font: float
    left: int
    labelled: bool


LARGE = Size(1080, 400, 12, 74, True)
SMALL = Size(480, 250, 13, 78, False)


@dataclass(frozen=True)
class Mark:
    """A step as it is drawn; it links to its commit. Its title is foreign text."""

    sha: str
    x: float
    y: float
    kind: str  # claimed, replicated
    title: str


@dataclass(frozen=True)
class Chart:
    """A staircase with its axes. The template draws what the methods compute, in pixels."""

    tier: Tier
    recent: tuple[Dot, ...]  # of this tier
    across: Axis
    up: Axis
    size: Size

    @property
    def title(self) -> str:
        """The best values in words."""
        parts = [f"Best so far on {self.tier.name}"]
        for kind, found in (("claimed", self.tier.claimed), ("replicated", self.tier.replicated)):
            if found:
                parts.append(f"{kind} {number(_value(found[0], kind))} by {found[0].agent}")
        return "; ".join(parts)

    def dots(self) -> Iterator[tuple[float, float]]:
        """The places of the newest results, kept or not, that lie on the axes."""
        for dot in self.recent:
            if self.up.holds(dot.value):
                yield self.across.at(dot.created), self.up.at(dot.value)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Each staircase: its kind and its SVG path."""
        for kind, ((x0, y0), *others) in self._corners():
            yield kind, f"M{x0:.1f} {y0:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in others)

    def marks(self) -> Iterator[Mark]:
        """A mark for each step."""
        for kind, steps in self._staircases():
            for step in steps:
                x, y = self._place(step, kind)
                yield Mark(step.commit or step.named, x, y, kind, _title(step, kind))

    def labels(self) -> list[Label]:
        """Descriptions of steps, in a large chart only: as many as have room off the staircases."""
        if not self.size.labelled:
            return []
        wishes = [
            Wish(*self._place(step, kind), shortened(clean_line(step.description, 200), NOTE))
            for step, kind in self._by_interest()
            if step.description.strip()
        ]
        room = Box(self.size.left + 4, 8, self.size.width - 6, self.up.start - 4)
        return placed(wishes, room, self._walls(), self.size.font)

    # ---- inside --------------------------------------------------------------------------------

    def _staircases(self) -> tuple[tuple[str, tuple[Result, ...]], ...]:
        return ("claimed", self.tier.claimed_steps), ("replicated", self.tier.replicated_steps)

    def _corners(self) -> Iterator[tuple[str, list[tuple[float, float]]]]:
        """Each staircase's kind, the places of its steps, and the end of the line after them."""
        for kind, steps in self._staircases():
            if places := [self._place(step, kind) for step in steps]:
                yield kind, [*places, (self.across.end, places[-1][1])]

    def _place(self, step: Result, kind: str) -> tuple[float, float]:
        return self.across.at(step.created), self.up.at(_value(step, kind))

    def _by_interest(self) -> list[tuple[Result, str]]:
        """The steps to label: replicated before claimed ones, larger gains before small ones."""
        replicated = {step.seq for step in self.tier.replicated_steps}
        found: list[tuple[bool, float, Result, str]] = []
        for kind, steps in self._staircases():
            for last, step in zip([None, *steps], steps, strict=False):
                gain = math.inf if last is None else abs(_best_known(step) - _best_known(last))
                if kind == "replicated" or step.seq not in replicated:
                    found.append((kind == "claimed", -gain, step, kind))
        found.sort(key=lambda each: each[:2])
        return [(step, kind) for _claimed, _gain, step, kind in found[:LABELS]]

    def _walls(self) -> list[Box]:
        """The two staircases, as boxes that no label may touch."""
        found = []
        for _, corners in self._corners():
            for (x0, y0), (x1, y1) in pairwise(corners):
                found.append(Box(x0 - 4, y0 - 4, x1 + 4, y0 + 4))
                found.append(Box(x1 - 3, min(y0, y1), x1 + 3, max(y0, y1)))
        return found


def staircase(tier: Tier, recent: Sequence[Dot], now: int, size: Size) -> Chart | None:
    """The chart of a tier; None when the tier has no kept result."""
    steps = (*tier.claimed_steps, *tier.replicated_steps)
    if not steps:
        return None
    own = tuple(dot for dot in recent if dot.tier == tier.name)
    times = [float(step.created) for step in steps] + [float(dot.created) for dot in own]
    end = max(times)
    latest = min(float(now), end + 0.04 * (end - min(times)) + 60)
    across = spanned([*times, latest], size.left, size.width - 24, pad=0.02)
    return Chart(tier, own, across, _up(steps, own, tier, size), size)


# ---- values ------------------------------------------------------------------------------------


def _best_known(result: Result) -> float:
    """The mean of others' runs where they confirmed it, else the claim."""
    value = result.mean if result.verdict == "confirmed" else None
    return value if value is not None else (result.value or 0.0)


def _value(result: Result, kind: str) -> float:
    value = result.mean if kind == "replicated" else result.value
    return value if value is not None else _best_known(result)


def _title(step: Result, kind: str) -> str:
    parts = [f"{step.metric} {number(_value(step, kind))} {kind}", step.agent]
    parts.append((step.commit or "")[:12])
    if kind == "replicated" and step.value is not None:
        parts.append(f"claimed {number(step.value)}")
    return " · ".join([*parts, clean_line(step.description, 160)])


def _up(steps: Sequence[Result], recent: Sequence[Dot], tier: Tier, size: Size) -> Axis:
    """The axis of values. The replicated steps set the scale where there are two or more, so that
    no wild claim flattens them; other values have room as far as the scale allows."""
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


# ---- axes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float  # the pixel of `low`
    end: float

    def at(self, value: float) -> float:
        """A value's pixel; a value beyond the axis is put at its end."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self.low <= value <= self.high

    def ticks(self, most: int = 6) -> Iterator[tuple[float, str]]:
        """Round values with their labels, about `most` of them."""
        step = _round_step((self.high - self.low) / most)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        first = math.ceil(self.low / step)
        for index in range(most + 2):
            value = (first + index) * step
            if value > self.high:
                return
            plain = decimals < 10 and abs(value) < 1e9
            text = f"{value:,.{decimals}f}" if plain else f"{value:.10g}"
            yield value, text.replace("-", "−")

    def times(self, most: int = 6) -> Iterator[tuple[float, str]]:
        """Round times in Unix seconds with their labels, about `most` of them."""
        span = self.high - self.low
        step = next((s for s in _TIMES if span / s <= most), None)
        if step is None:
            step = math.ceil(span / most / _TIMES[-1]) * _TIMES[-1]
        form = "%H:%M" if step < 86_400 else "%d %b"
        for index in range(most + 2):
            value = (math.ceil(self.low / step) + index) * step
            if value > self.high:
                return
            when = datetime.fromtimestamp(value, UTC)
            day = step < 86_400 and when.hour == 0 and when.minute == 0
            yield value, f"{when:{'%d %b' if day else form}}"


def spanned(values: Sequence[float], start: float, end: float, pad: float = 0.08) -> Axis:
    """An axis for values, with a share `pad` of their span as room at both ends."""
    low, high = (max(-_MOST, min(_MOST, end)) for end in (min(values), max(values)))
    if high - low < max(1e-12 * max(abs(low), abs(high)), _LEAST):
        half = max(abs(high) * 0.005, _LEAST) if high else 0.5
        low, high = low - half, high + half
    room = (high - low) * pad
    return Axis(low - room, high + room, start, end)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 5) if m * power >= rough), 10 * power)


# ---- labels: near their points, off the staircases and off each other --------------------------


@dataclass(frozen=True)
class Box:
    """A rectangle; y grows down."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return (
            self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1
        )


@dataclass(frozen=True)
class Wish:
    """A point that wants a label."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Label:
    """A label with its place; `start` says whether the text begins at x or ends there."""

    wish: Wish
    x: float
    y: float  # of the text's middle
    start: bool

    @property
    def leader(self) -> bool:
        """Whether the label is so far from its point that a line must join them."""
        return abs(self.x - self.wish.x) > 14 or abs(self.y - self.wish.y) > 18


def placed(wishes: Sequence[Wish], room: Box, walls: Sequence[Box], size: float) -> list[Label]:
    """Labels inside the room and off the walls, for as many wishes as fit; the first win."""
    taken, found = list(walls), []
    for wish in wishes:
        for label, box in _places(wish, size):
            inside = room.x0 <= box.x0 and box.x1 <= room.x1
            inside = inside and room.y0 <= box.y0 and box.y1 <= room.y1
            if inside and not any(box.meets(other) for other in taken):
                taken.append(box)
                found.append(label)
                break
    return found


def width_of(text: str, size: float) -> float:
    """The width of a line of text in pixels, in Helvetica and the like; never too small."""
    shares = (
        0.36 if c in _NARROW
        else 0.93 if c in _WIDE
        else 1.05 if ord(c) > 0x2E7F
        else 0.72 if c.isupper()
        else 0.58
        for c in text
    )  # fmt: skip
    return size * sum(shares)


def shortened(text: str, limit: int) -> str:
    """A text cut to `limit` characters, between words where possible."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    words = cut.rsplit(" ", 1)[0]
    return (words if len(words) > limit // 2 else cut).rstrip(" ,;:(") + "…"


def _places(wish: Wish, size: float) -> Iterator[tuple[Label, Box]]:
    """All places to try: above right first, where a falling staircase leaves room."""
    width = width_of(wish.text, size)
    for away in _AWAY:
        for up, start in ((-1, True), (1, False), (-1, False), (1, True)):
            for aside in (5.0, 18.0, 36.0):
                x = wish.x + aside if start else wish.x - aside
                y = wish.y + up * (away + _HALF - 4)
                left = x if start else x - width
                yield (
                    Label(wish, x, y, start),
                    Box(left - 2, y - _HALF, left + width + 2, y + _HALF),
                )

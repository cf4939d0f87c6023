"""What the history says from where the parent stands: effects, crashes, how far to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from statistics import fmean, median

from autoresearch.lab.constants import Value
from autoresearch.proposers import Tried
from autoresearch.proposers.offline.effects import fit
from autoresearch.proposers.offline.space import Identity, Key, Point, is_ordered, to_unit

Feature = tuple[Key, Value]
Past = Sequence[tuple[Tried, Point]]

_UNKNOWN_SCALE = 0.003  # of the parent's score, until a few differences have been seen
_OUTLIER = 4.0  # scales: no single loss counts for more
_CLEARLY = 2.0  # scales of expected loss after which a value is left alone
_RECENT = 400  # trials that the effects are fitted to
_OTHER_EDITS: Key = ("", "")  # stands for everything that is not a knob


@dataclass(frozen=True)
class Lesson:
    """One finished experiment against its parent: what moved and what it brought."""

    moved: Mapping[Key, tuple[Value, Value]]  # before, after
    gain: float | None  # positive is better; None when it crashed
    kept: bool
    pure: bool  # nothing but these knobs changed


@dataclass(frozen=True)
class Evidence:
    """The history as seen from one parent."""

    parent: Point
    lessons: tuple[Lesson, ...]
    tried: frozenset[Identity]
    scale: float  # an ordinary difference between two trials, in the metric's unit
    effects: Mapping[Feature, float]  # expected gain of giving one knob of the parent this value

    @cached_property
    def crashed(self) -> frozenset[Feature]:
        """Values that crashed alone, or twice in company, and never ran."""
        strikes: dict[Feature, float] = {}
        ran: set[Feature] = set()
        for lesson in self.lessons:
            features = [(key, after) for key, (_, after) in lesson.moved.items()]
            if lesson.gain is not None:
                ran.update(features)
            elif lesson.pure:
                for feature in features:
                    share = 1.0 if len(features) == 1 else 0.5
                    strikes[feature] = strikes.get(feature, 0.0) + share
        return frozenset(f for f, count in strikes.items() if count >= 1 and f not in ran)

    @cached_property
    def tested(self) -> frozenset[Feature]:
        """Values that some experiment has tried, and that had a fair chance there."""
        return frozenset(
            (key, value)
            for lesson in self.lessons
            if lesson.gain is not None or (lesson.pure and len(lesson.moved) == 1)
            for key, pair in lesson.moved.items()
            for value in pair
        )

    def hopeless(self, key: Key, value: Value) -> bool:
        """Whether a value crashed or lost clearly, or lies beyond one that did."""
        bad = -_CLEARLY * self.scale
        if (key, value) in self.crashed or self.effects.get((key, value), 0.0) < bad:
            return True
        here, there = self.place(key, self.parent.values[key]), self.place(key, value)
        if here is None or there is None:
            return False
        walls = [place for place, gain in self.places(key) if gain < bad]
        return any(here < wall <= there or there <= wall < here for wall in walls)

    def places(self, key: Key) -> list[tuple[float, float]]:
        """The other values tried of an ordered knob: place in its range, expected gain."""
        crash = -_OUTLIER * self.scale
        known = {**self.effects, **dict.fromkeys(self.crashed, crash)}
        placed = [(self.place(key, v), gain) for (name, v), gain in known.items() if name == key]
        return [(place, gain) for place, gain in placed if place is not None]

    def place(self, key: Key, value: Value) -> float | None:
        """Where a value of an ordered knob stands, 0 to 1."""
        knob = self.parent.knobs[key]
        return to_unit(knob, value) if is_ordered(knob) else None

    def stride(self, key: Key) -> float:
        """How far to move a knob, against its first step: success lengthens, failure shortens."""
        factor = 1.0
        for lesson in self.lessons:
            if key in lesson.moved:
                factor = min(max(factor * (1.5 if lesson.kept else 0.8), 0.3), 2.5)
        return factor

    def spread(self, key: Key) -> float:
        """How large an effect of this knob may yet be found; less the more often it was tried."""
        seen = [gain for (name, _), gain in self.effects.items() if name == key]
        size = (2 * self.scale**2 + sum(gain**2 for gain in seen)) / (2 + len(seen))
        return float((size / (1 + 0.5 * len(seen))) ** 0.5)


def gather(parent: Point, commit: str, past: Past, minimize: bool) -> Evidence:
    """Everything the finished experiments teach about a move from `parent`."""
    sign = -1.0 if minimize else 1.0
    scores: dict[str, float] = {}
    for tried, _ in past:
        if tried.value is not None and isfinite(tried.value) and tried.outcome != "crash":
            scores.setdefault(tried.candidate, sign * tried.value)
    lessons = tuple(_lessons(past, scores))
    scale = _scale(lessons, scores)
    home = scores.get(commit, max(scores.values(), default=0.0))
    rows = [
        (_features(parent, point), max(scores[tried.candidate] - home, -_OUTLIER * scale))
        for tried, point in past[-_RECENT:]
        if tried.candidate in scores
    ]
    effects = {f: gain for f, gain in fit(rows).items() if f[0] in parent.knobs}
    return Evidence(parent, lessons, frozenset(p.identity for _, p in past), scale, effects)


def _lessons(past: Past, scores: Mapping[str, float]) -> list[Lesson]:
    points = {tried.candidate: point for tried, point in past}
    lessons = []
    for tried, point in past:
        parent = points.get(tried.parent)
        crashed = tried.outcome == "crash"
        known = tried.candidate in scores and tried.parent in scores
        if parent is None or tried.candidate == tried.parent or not (crashed or known):
            continue
        moved = {
            key: (parent.values[key], value)
            for key, value in point.values.items()
            if key in parent.values and parent.values[key] != value
        }
        gain = None if crashed else scores[tried.candidate] - scores[tried.parent]
        lessons.append(Lesson(moved, gain, tried.outcome == "keep", point.rest == parent.rest))
    return lessons


def _scale(lessons: Sequence[Lesson], scores: Mapping[str, float]) -> float:
    gains = [abs(lesson.gain) for lesson in lessons if lesson.gain is not None]
    usual = _UNKNOWN_SCALE * fmean(map(abs, scores.values())) if scores else 0.0
    typical = median(gains) if len(gains) >= 4 else usual
    return typical or usual or 1e-9


def _features(parent: Point, point: Point) -> list[Feature]:
    """What tells a tried point from the parent, knob by knob."""
    changed: list[Feature] = [
        (key, point.values[key])
        for key, value in parent.values.items()
        if key in point.values and point.values[key] != value
    ]
    return changed if point.rest == parent.rest else [*changed, (_OTHER_EDITS, point.rest)]

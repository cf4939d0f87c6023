"""What the history says about a move from the parent: effects, crashes, step lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from statistics import fmean, median

from autoresearch.lab.constants import Value
from autoresearch.proposers import Tried
from autoresearch.proposers.offline.space import Identity, Key, Point, is_ordered, to_unit

Feature = tuple[Key, Value]
Past = Sequence[tuple[Tried, Point]]

_UNKNOWN_SCALE = 0.003  # share of the parent's score, until a few differences are known
_OUTLIER = 4.0  # scales: a larger loss counts as this
_CLEARLY = 2.0  # scales of expected loss from which a value is avoided
_RECENT = 400  # trials that the effects are fitted to
_DOUBT = 0.25  # variance of the noise over variance of true effects
_SWEEPS = 25  # of the coordinate descent
_OTHER_EDITS: Key = ("", "")  # stands for every change that is not of a knob


@dataclass(frozen=True)
class Lesson:
    """One finished trial against its parent: what changed, and the gain."""

    moved: Mapping[Key, tuple[Value, Value]]  # before, after
    gain: float | None  # positive is better; None when it crashed
    kept: bool
    pure: bool  # only these knobs changed


@dataclass(frozen=True)
class Evidence:
    """What the history says about one parent."""

    parent: Point
    lessons: tuple[Lesson, ...]
    tried: frozenset[Identity]
    scale: float  # a typical difference between two trials, in the metric's unit
    effects: Mapping[Feature, float]  # expected gain of setting one knob of the parent to a value

    @cached_property
    def crashed(self) -> frozenset[Feature]:
        """Values that crashed alone, or twice with others, and never ran."""
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
        """Values that some trial tested, either with a result or as the only change."""
        return frozenset(
            (key, value)
            for lesson in self.lessons
            if lesson.gain is not None or (lesson.pure and len(lesson.moved) == 1)
            for key, pair in lesson.moved.items()
            for value in pair
        )

    def hopeless(self, key: Key, value: Value) -> bool:
        """Whether a value crashed or lost clearly, or is beyond one that did."""
        bad = -_CLEARLY * self.scale
        if (key, value) in self.crashed or self.effects.get((key, value), 0.0) < bad:
            return True
        here, there = self.place(key, self.parent.values[key]), self.place(key, value)
        if here is None or there is None:
            return False
        walls = [place for place, gain in self.places(key) if gain < bad]
        return any(here < wall <= there or there <= wall < here for wall in walls)

    def places(self, key: Key) -> list[tuple[float, float]]:
        """Other values tried for an ordered knob: position in its range, expected gain."""
        crash = -_OUTLIER * self.scale
        known = {**self.effects, **dict.fromkeys(self.crashed, crash)}
        placed = [(self.place(key, v), gain) for (name, v), gain in known.items() if name == key]
        return [(place, gain) for place, gain in placed if place is not None]

    def place(self, key: Key, value: Value) -> float | None:
        """Position of a value in an ordered knob's range, 0 to 1; None where there is no order."""
        knob = self.parent.knobs[key]
        return to_unit(knob, value) if is_ordered(knob) else None

    def stride(self, key: Key) -> float:
        """Step length of a knob relative to its first step: longer after keeps, else shorter."""
        factor = 1.0
        for lesson in self.lessons:
            if key in lesson.moved:
                factor = min(max(factor * (1.5 if lesson.kept else 0.8), 0.3), 2.5)
        return factor

    def spread(self, key: Key) -> float:
        """Expected size of effects still to be found for a knob; smaller after more trials."""
        seen = [gain for (name, _), gain in self.effects.items() if name == key]
        size = (2 * self.scale**2 + sum(gain**2 for gain in seen)) / (2 + len(seen))
        return float((size / (1 + 0.5 * len(seen))) ** 0.5)


def gather(parent: Point, commit: str, past: Past, minimize: bool) -> Evidence:
    """Collect what the finished trials say about a move from `parent`."""
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
    effects = {f: gain for f, gain in _fit_effects(rows).items() if f[0] in parent.knobs}
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
    """The differences between a tried point and the parent, knob by knob."""
    changed: list[Feature] = [
        (key, point.values[key])
        for key, value in parent.values.items()
        if key in point.values and point.values[key] != value
    ]
    return changed if point.rest == parent.rest else [*changed, (_OTHER_EDITS, point.rest)]


def _fit_effects(rows: Sequence[tuple[Sequence[Feature], float]]) -> dict[Feature, float]:
    """The effect of each feature, in the unit of the scores.

    An additive model, shrunk towards no effect (ridge regression), fitted by coordinate descent.
    """
    members: dict[Feature, list[int]] = {}
    for index, (features, _) in enumerate(rows):
        for feature in features:
            members.setdefault(feature, []).append(index)
    effects = dict.fromkeys(members, 0.0)
    rest = [score for _, score in rows]  # what the model leaves unexplained
    for _ in range(_SWEEPS if rows else 0):
        level = sum(rest) / len(rest)
        rest = [score - level for score in rest]
        for feature, where in members.items():
            change = sum(rest[i] for i in where) - _DOUBT * effects[feature]
            change /= len(where) + _DOUBT
            effects[feature] += change
            for i in where:
                rest[i] -= change
    return effects

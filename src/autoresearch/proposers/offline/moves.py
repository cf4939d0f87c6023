"""Ways to choose the next change: structural, local, pair, recombine, and a last resort."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from autoresearch.lab.constants import Choices, Knob, Log, Value
from autoresearch.proposers.offline.evidence import Evidence
from autoresearch.proposers.offline.space import Key, from_unit, is_ordered, notch

_FIRST_STEP = 0.2  # share of a range
_FIRST_RATIO = math.log(2.0)  # logarithm of the ratio, for a range searched by ratio
_FARTHEST = math.log(8.0)
_NEAREST = 0.015  # share of a range: a direction with a shorter step left is exhausted
_FEW = 3  # up to this many numbers are alternatives, more are a scale
_GRID = 12  # positions of a continuous range that the last resort tries
_MOST_COMBINATIONS = 20_000

# Trials that an untried choice may use: switching on, exchanging, switching off.
_TURNS: Sequence[Callable[[int], bool]] = (
    lambda turn: turn % 3 != 0,
    lambda turn: turn % 2 == 1,
    lambda turn: turn % 4 == 1,
)


@dataclass(frozen=True)
class Move:
    """Knobs to change, and the way that chose them."""

    changes: Mapping[Key, Value]
    why: str


@dataclass(frozen=True)
class Idea:
    """One knob to change, with mean and spread of its expected gain."""

    key: Key
    value: Value
    mean: float
    spread: float


def structural(evidence: Evidence, seed: int, turn: int = 1) -> Move | None:
    """The next choice that no trial has tested, switching on first; None off its turn."""
    waiting = [
        (_turn_kind(evidence.parent.values[key], value), _shuffle(seed, key, value), key, value)
        for key, value in alternatives(evidence)
        if (key, value) not in evidence.tested and is_new(evidence, {key: value})
    ]
    if not waiting:
        return None
    kind, _, key, value = min(waiting, key=lambda item: item[:2])
    return Move({key: value}, "structural") if _TURNS[kind](turn) else None


def alternatives(evidence: Evidence) -> Iterator[tuple[Key, Value]]:
    """Other values of knobs whose values are alternatives, not a scale."""
    for key, knob in evidence.parent.knobs.items():
        here = evidence.parent.values[key]
        if isinstance(knob, Choices) and (not is_ordered(knob) or len(knob.values) <= _FEW):
            for value in knob.values:
                if value != here and (key, value) not in evidence.crashed:
                    yield key, value


def _turn_kind(before: Value, after: Value) -> int:
    """0 switching on, 1 exchanging, 2 switching off: what a lab ships switched off is untried."""
    return 0 if _is_off(before) else 2 if _is_off(after) else 1


def _is_off(value: Value) -> bool:
    return not value or value in ("none", "off")


def _shuffle(seed: int, key: Key, value: Value) -> float:
    return Random(f"{seed} {key} {value!r}").random()


def local(evidence: Evidence, rng: Random) -> Move | None:
    """A single step of an ordered knob, the best after a draw of each step's gain."""
    for idea in _by_thompson(steps(evidence, rng), rng):
        if is_new(evidence, {idea.key: idea.value}):
            return Move({idea.key: idea.value}, "local")
    return None


def pair(evidence: Evidence, rng: Random) -> Move | None:
    """The two best changes of different knobs, choices included."""
    ideas = _by_thompson([*steps(evidence, rng), *second_looks(evidence)], rng)
    hopeful = [idea for idea in ideas if idea.mean > -evidence.scale][:8]
    for one, other in itertools.combinations(hopeful, 2):
        changes = {one.key: one.value, other.key: other.value}
        if len(changes) == 2 and is_new(evidence, changes):
            return Move(changes, "pair")
    return None


def recombine(evidence: Evidence, rng: Random) -> Move | None:
    """Near misses combined: discarded values that may well be gains."""
    best = sorted(second_looks(evidence), key=lambda idea: -idea.mean)
    near = list({i.key: i for i in reversed(best) if i.mean > -0.3 * evidence.scale}.values())
    near = sorted(near, key=lambda idea: -idea.mean)[:6]
    sets = [c for size in (2, 3, 1) for c in itertools.combinations(near, size)]
    sets.sort(key=lambda ideas: -sum(i.mean + 0.3 * i.spread * rng.gauss(0, 1) for i in ideas))
    for ideas in sets:
        changes = {idea.key: idea.value for idea in ideas}
        if is_new(evidence, changes):
            return Move(changes, "recombine" if len(changes) > 1 else "second look")
    return None


def second_looks(evidence: Evidence) -> list[Idea]:
    """Values tried in other trials that the parent does not have, with their expected gain."""
    return [
        Idea(key, value, gain, evidence.spread(key))
        for (key, value), gain in evidence.effects.items()
        if not evidence.hopeless(key, value)
    ]


def steps(evidence: Evidence, rng: Random) -> list[Idea]:
    """One step up and one step down for every ordered knob, where such a step is left."""
    found = []
    for key, knob in evidence.parent.knobs.items():
        if is_ordered(knob):
            length = _reach(knob, evidence.stride(key) * math.exp(0.3 * rng.gauss(0, 1)))
            ideas = [_step(evidence, key, side, length) for side in (1, -1)]
            found += [idea for idea in ideas if idea is not None]
    return found


def _reach(knob: Knob, stride: float) -> float:
    """Length of a step as a share of the range, at most a factor of eight by ratio."""
    length, longest = _FIRST_STEP * stride, 0.3
    if isinstance(knob, Log):
        whole = math.log(knob.high / knob.low)
        length, longest = _FIRST_RATIO * stride / whole, _FARTHEST / whole
    return max(min(length, longest), notch(knob))


def _step(evidence: Evidence, key: Key, side: int, length: float) -> Idea | None:
    """A step to one side: short of a value that lost there, beyond one that gained."""
    knob, value = evidence.parent.knobs[key], evidence.parent.values[key]
    here = evidence.place(key, value)
    if here is None:
        return None
    known = sorted((side * (place - here), gain) for place, gain in evidence.places(key))
    ahead = [(distance, gain) for distance, gain in known if distance > 0]
    behind = [gain for distance, gain in known if distance < 0]
    mean = 0.25 * min(max(-behind[-1], 0.0), evidence.scale) if behind else 0.0
    if ahead:
        distance, gain = ahead[0]
        mean = 0.5 * gain
        length = distance + 0.5 * length if gain > 0 else min(length, distance / 2)
    if length < max(_NEAREST, 0.99 * notch(knob)):
        return None
    target = from_unit(knob, here + side * length)
    if target == value or evidence.hopeless(key, target):
        return None
    return Idea(key, target, mean, evidence.spread(key))


def _by_thompson(ideas: list[Idea], rng: Random) -> list[Idea]:
    """Ideas sorted by a draw of each one's gain, best first (Thompson sampling)."""
    draws = [(idea.mean + idea.spread * rng.gauss(0, 1), idea) for idea in ideas]
    return [idea for _, idea in sorted(draws, key=lambda draw: -draw[0])]


def is_new(evidence: Evidence, changes: Mapping[Key, Value]) -> bool:
    """Whether no trial had exactly these files."""
    identity = evidence.parent.moved(changes)
    return identity != evidence.parent.identity and identity not in evidence.tried


def anything(evidence: Evidence, rng: Random) -> Move | None:
    """The last resort: a single change, else a pair, else any combination; no crashed values."""
    options = {key: _options(evidence, key) for key in evidence.parent.knobs}
    singles = [(key, value) for key, values in options.items() for value in values]
    rng.shuffle(singles)
    singles.sort(key=lambda change: evidence.hopeless(*change))
    for size in (1, 2):
        for chosen in itertools.combinations(singles, size):
            changes = dict(chosen)
            if len(changes) == size and is_new(evidence, changes):
                return Move(changes, "last resort")
    every = itertools.product(*([evidence.parent.values[key], *v] for key, v in options.items()))
    for values in itertools.islice(every, _MOST_COMBINATIONS):
        changes = dict(zip(options, values, strict=True))
        if is_new(evidence, changes):
            return Move(evidence.parent.difference(changes), "last resort")
    return None


def _options(evidence: Evidence, key: Key) -> list[Value]:
    """Other values of a knob that did not crash: all choices, or a grid of a range."""
    knob, here = evidence.parent.knobs[key], evidence.parent.values[key]
    if isinstance(knob, Choices):
        values: list[Value] = list(knob.values)
    else:
        count = round(1 / notch(knob)) if notch(knob) else _GRID
        count = min(count, 10 * _GRID)
        values = [from_unit(knob, place / count) for place in range(count + 1)]
    distinct = dict.fromkeys(v for v in values if v != here)
    return [value for value in distinct if (key, value) not in evidence.crashed]

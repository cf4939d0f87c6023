"""Ways to move on from the parent: structural, local, pair, recombine, and the last resort."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from autoresearch.lab.constants import Choices, Knob, Log, Value
from autoresearch.proposers.offline.evidence import Evidence
from autoresearch.proposers.offline.space import Key, from_unit, is_ordered, notch

_FIRST_STEP = 0.2  # of a range
_FIRST_RATIO = math.log(2.0)  # of a range searched by ratio
_FARTHEST = math.log(8.0)
_NEAREST = 0.015  # of a range: below this a direction is spent
_FEW = 3  # numbers to choose from: as many are alternatives, more are a scale
_GRID = 12  # places of a continuous range looked at when nothing better is left
_MOST_COMBINATIONS = 20_000

# Which trials belong to an untried choice: switching on, exchanging, switching off.
_TURNS: Sequence[Callable[[int], bool]] = (
    lambda turn: turn % 3 != 0,
    lambda turn: turn % 2 == 1,
    lambda turn: turn % 4 == 1,
)


@dataclass(frozen=True)
class Move:
    """Knobs to change, and the way it was found."""

    changes: Mapping[Key, Value]
    why: str


@dataclass(frozen=True)
class Idea:
    """One knob to change, with what one may hope of it."""

    key: Key
    value: Value
    mean: float
    spread: float


def structural(evidence: Evidence, seed: int, turn: int = 1) -> Move | None:
    """The next choice that no experiment has tried, switching on first; None off its turn."""
    waiting = [
        (_rank(evidence.parent.values[key], value), _shuffle(seed, key, value), key, value)
        for key, value in alternatives(evidence)
        if (key, value) not in evidence.tested and is_new(evidence, {key: value})
    ]
    if not waiting:
        return None
    rank, _, key, value = min(waiting, key=lambda item: item[:2])
    return Move({key: value}, "structural") if _TURNS[rank](turn) else None


def alternatives(evidence: Evidence) -> Iterator[tuple[Key, Value]]:
    """Other values of the knobs that are a question of which rather than of how much."""
    for key, knob in evidence.parent.knobs.items():
        here = evidence.parent.values[key]
        if isinstance(knob, Choices) and (not is_ordered(knob) or len(knob.values) <= _FEW):
            for value in knob.values:
                if value != here and (key, value) not in evidence.crashed:
                    yield key, value


def _rank(before: Value, after: Value) -> int:
    """What a lab ships switched off is untried; what it ships switched on was put there."""
    return 0 if _is_off(before) else 2 if _is_off(after) else 1


def _is_off(value: Value) -> bool:
    return not value or value in ("none", "off")


def _shuffle(seed: int, key: Key, value: Value) -> float:
    return Random(f"{seed} {key} {value!r}").random()


def local(evidence: Evidence, rng: Random) -> Move | None:
    """The most hopeful single step of an ordered knob, after a draw from what it may bring."""
    for idea in _drawn(steps(evidence, rng), rng):
        if is_new(evidence, {idea.key: idea.value}):
            return Move({idea.key: idea.value}, "local")
    return None


def pair(evidence: Evidence, rng: Random) -> Move | None:
    """The two most hopeful changes of different knobs, choices included."""
    ideas = _drawn([*steps(evidence, rng), *second_looks(evidence)], rng)
    hopeful = [idea for idea in ideas if idea.mean > -evidence.scale][:8]
    for one, other in itertools.combinations(hopeful, 2):
        changes = {one.key: one.value, other.key: other.value}
        if len(changes) == 2 and is_new(evidence, changes):
            return Move(changes, "pair")
    return None


def recombine(evidence: Evidence, rng: Random) -> Move | None:
    """Near misses together: values that were put aside although they may well be gains."""
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
    """Values tried elsewhere which the parent does not have, by their expected gain."""
    return [
        Idea(key, value, gain, evidence.spread(key))
        for (key, value), gain in evidence.effects.items()
        if not evidence.hopeless(key, value)
    ]


def steps(evidence: Evidence, rng: Random) -> list[Idea]:
    """One step up and one step down of every ordered knob that has such a step left."""
    found = []
    for key, knob in evidence.parent.knobs.items():
        if is_ordered(knob):
            length = _reach(knob, evidence.stride(key) * math.exp(0.3 * rng.gauss(0, 1)))
            ideas = [_step(evidence, key, side, length) for side in (1, -1)]
            found += [idea for idea in ideas if idea is not None]
    return found


def _reach(knob: Knob, stride: float) -> float:
    """The length of a step as a share of the range, never more than eightfold by ratio."""
    length, longest = _FIRST_STEP * stride, 0.3
    if isinstance(knob, Log):
        whole = math.log(knob.high / knob.low)
        length, longest = _FIRST_RATIO * stride / whole, _FARTHEST / whole
    return max(min(length, longest), notch(knob))


def _step(evidence: Evidence, key: Key, side: int, length: float) -> Idea | None:
    """A step to one side, short of what failed there and past what nearly succeeded."""
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


def _drawn(ideas: list[Idea], rng: Random) -> list[Idea]:
    """Ideas by a draw from their hopes, the best first (Thompson sampling)."""
    draws = [(idea.mean + idea.spread * rng.gauss(0, 1), idea) for idea in ideas]
    return [idea for _, idea in sorted(draws, key=lambda draw: -draw[0])]


def is_new(evidence: Evidence, changes: Mapping[Key, Value]) -> bool:
    """Whether no experiment had exactly this tree."""
    identity = evidence.parent.moved(changes)
    return identity != evidence.parent.identity and identity not in evidence.tried


def anything(evidence: Evidence, rng: Random) -> Move | None:
    """Whatever is left: single changes, then pairs, then any combination; crashes excepted."""
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
    """Other values of a knob that did not crash: all of them, or a grid of a continuous range."""
    knob, here = evidence.parent.knobs[key], evidence.parent.values[key]
    if isinstance(knob, Choices):
        values: list[Value] = list(knob.values)
    else:
        count = round(1 / notch(knob)) if notch(knob) else _GRID
        count = min(count, 10 * _GRID)
        values = [from_unit(knob, place / count) for place in range(count + 1)]
    distinct = dict.fromkeys(v for v in values if v != here)
    return [value for value in distinct if (key, value) not in evidence.crashed]

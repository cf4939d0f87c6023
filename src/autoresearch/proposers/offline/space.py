"""The editable files as a point: a value for each knob, and a digest of everything else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from autoresearch.errors import ProposerError
from autoresearch.lab import constants
from autoresearch.lab.constants import Choices, Constant, Int, Knob, Linear, Log, Value

Key = tuple[str, str]  # editable path, constant's name
Identity = tuple[str, frozenset[tuple[Key, Value]]]

_COARSEST = 0.004  # rounding may move a value by this share of its range


@dataclass(frozen=True)
class Point:
    """One state of the editable files. Points of equal identity are the same trial."""

    values: Mapping[Key, Value]
    knobs: Mapping[Key, Knob]
    rest: str  # digest of the files with the knobs' literals taken out

    @classmethod
    def of(cls, files: Mapping[str, str], strict: bool = False) -> Point:
        """Read files, path -> text. Invalid Python has no knobs; if strict, it is an error."""
        values: dict[Key, Value] = {}
        knobs: dict[Key, Knob] = {}
        rest = hashlib.sha256()
        for path, text in sorted(files.items()):
            found = _searched(text, path, strict)
            values |= {(path, constant.name): constant.value for constant in found}
            knobs |= {(path, c.name): c.knob for c in found if c.knob is not None}
            rest.update(f"\0{path}\0{_without(text, found)}".encode("utf-8", "surrogatepass"))
        return cls(values, knobs, rest.hexdigest())

    @property
    def identity(self) -> Identity:
        """Equal for points that are the same trial."""
        return self.rest, frozenset(self.values.items())

    def moved(self, changes: Mapping[Key, Value]) -> Identity:
        """The identity of this point with some knobs changed."""
        return self.rest, frozenset({**self.values, **changes}.items())

    def difference(self, values: Mapping[Key, Value]) -> dict[Key, Value]:
        """Those values that differ from this point's."""
        return {key: value for key, value in values.items() if self.values[key] != value}


def _searched(text: str, path: str, strict: bool) -> list[Constant]:
    if not path.endswith(".py"):
        return []
    try:
        found = constants.read(text, path).values()
    except ProposerError:
        if strict:
            raise
        return []
    return [constant for constant in found if constant.knob is not None]


def _without(text: str, found: list[Constant]) -> str:
    for constant in sorted(found, key=lambda constant: constant.span, reverse=True):
        start, end = constant.span
        text = f"{text[:start]}\0{text[end:]}"
    return text


def is_number(value: Value) -> bool:
    """Whether a value is a plain number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_ordered(knob: Knob) -> bool:
    """Whether the values form a scale: every range, and choices among numbers."""
    return not isinstance(knob, Choices) or all(map(is_number, knob.values))


def notch(knob: Knob) -> float:
    """Smallest step of an ordered knob as a share of its range; 0 for a continuous one."""
    if isinstance(knob, Choices):
        return 1 / (len(knob.values) - 1)
    if isinstance(knob, Int):
        return 1 / (knob.high - knob.low)
    return 0.0


def to_unit(knob: Knob, value: Value) -> float | None:
    """Position of a value in its range, 0 to 1; None when it is not a number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if isinstance(knob, Choices):
        ladder = _ladder(knob)
        nearest = min(range(len(ladder)), key=lambda rung: abs(ladder[rung] - value))
        return nearest / (len(ladder) - 1)
    low, high = knob.low, knob.high
    inside = min(max(value, low), high)
    if isinstance(knob, Log):
        return math.log(inside / low) / math.log(high / low)
    return (inside - low) / (high - low)


def from_unit(knob: Knob, unit: float) -> Value:
    """The value at a position of the range, in as few digits as keep the position."""
    unit = min(max(unit, 0.0), 1.0)
    if isinstance(knob, Choices):
        ladder = _ladder(knob)
        return ladder[round(unit * (len(ladder) - 1))]
    exact = _exact(knob, unit)
    if isinstance(knob, Int) or (isinstance(knob, Log) and knob.whole):
        return round(exact)
    for digits in (2, 3):
        value = float(f"{exact:.{digits}g}")
        place = to_unit(knob, value)
        if knob.low <= value <= knob.high and place and abs(place - unit) <= _COARSEST:
            return value
    return min(max(float(f"{exact:.4g}"), float(knob.low)), float(knob.high))


def _exact(knob: Log | Linear | Int, unit: float) -> float:
    if isinstance(knob, Log):
        return float(knob.low * (knob.high / knob.low) ** unit)
    return knob.low + unit * (knob.high - knob.low)


def _ladder(knob: Choices) -> list[int | float]:
    numbers = [v for v in knob.values if isinstance(v, int | float)]
    return sorted(numbers)

"""The number a study improves: its name, which way is better, and how it is read from a log."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["minimize", "maximize"]

# `val_bpb: 1.8640` at the start of a line, or `METRIC val_bpb=1.8640` anywhere in it.
_COLON = re.compile(r"^\s*([A-Za-z_][\w./-]*)\s*:\s*(\S+)\s*$")
_METRIC = re.compile(r"\bMETRIC\s+([A-Za-z_][\w./-]*)\s*=\s*(\S+)")


@dataclass(frozen=True)
class Metric:
    """A named number with a direction. Compare by `better`, never by larger."""

    name: str
    direction: Direction = "minimize"
    range: tuple[float, float] | None = None

    def better(self, value: float | None, than: float | None) -> bool:
        """Whether `value` is strictly better; a missing value is worse than any number."""
        if value is None:
            return False
        if than is None:
            return True
        return value < than if self.direction == "minimize" else value > than

    def gain(self, value: float, over: float) -> float:
        """How much better `value` is than `over`, in the metric's own unit; negative when worse."""
        return over - value if self.direction == "minimize" else value - over

    def problem(self, value: float) -> str | None:
        """Why `value` can never be a record, or None when it can."""
        if not math.isfinite(value):
            return f"{self.name} is {value}, not a finite number"
        if self.range and not self.range[0] <= value <= self.range[1]:
            low, high = self.range
            return f"{self.name} is {value:g}, outside its range {low:g} to {high:g}"
        return None


def read_numbers(lines: Iterable[str]) -> dict[str, float]:
    """Every `name: number` and `METRIC name=number` line; the last of a name counts."""
    numbers: dict[str, float] = {}
    for line in lines:
        if (match := _METRIC.search(line) or _COLON.match(line)) is None:
            continue
        value = _number(match[2])
        if value is not None:
            numbers[match[1]] = value
    return numbers


def _number(text: str) -> float | None:
    """A float as people print one; NaN and infinities are numbers here, to be refused by name."""
    try:
        return float(text.replace(",", "")) if "_" not in text else None
    except ValueError:
        return None

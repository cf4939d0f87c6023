"""The number that a study improves: its name and direction, and how it is read from a log."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["minimize", "maximize"]
Scale = Literal["linear", "log"]

# `val_bpb: 1.8640` at the start of a line, or `METRIC val_bpb=1.8640` anywhere in it.
_NAME = r"[A-Za-z_][\w./-]*"
_COLON = re.compile(rf"^\s*({_NAME})\s*:\s*(\S+)\s*$")
_METRIC = re.compile(rf"\bMETRIC\s+({_NAME})\s*=\s*([^\s,]+(?:,\d[^\s,]*)*)")
# 14,200 is one; 1,86 and 0,997 are not
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")

MOST_NUMBERS = 1000  # names that one log can set; if there are more, the last ones count


@dataclass(frozen=True)
class Metric:
    """A named number with a direction. Compare values by `better`, never by size."""

    name: str
    direction: Direction = "minimize"
    range: tuple[float, float] | None = None
    scale: Scale = "linear"  # log: the keep rule compares ratios

    def better(self, value: float | None, than: float | None) -> bool:
        """Whether `value` is strictly better; a missing value is worse than any number."""
        if value is None:
            return False
        if than is None:
            return True
        return value < than if self.direction == "minimize" else value > than

    def gain(self, value: float, over: float) -> float:
        """How much better `value` is than `over`, in the metric's unit; negative when worse."""
        return over - value if self.direction == "minimize" else value - over

    def worth(self, value: float) -> float:
        """A number that the keep rule compares: more is better; on a log scale the logarithm."""
        size = math.log(value) if self.scale == "log" else value
        return -size if self.direction == "minimize" else size

    def value_of(self, worth: float) -> float:
        """The value that has this worth."""
        size = (-worth if self.direction == "minimize" else worth) + 0.0  # never -0
        return math.exp(size) if self.scale == "log" else size

    def problem(self, value: float) -> str | None:
        """Why `value` is not a valid result, or None when it is."""
        if not math.isfinite(value):
            return f"{self.name} is {value}, not a finite number"
        if self.scale == "log" and value <= 0:
            return (
                f'{self.name} is {value:g}, and metric.scale is "log", which needs a number above 0'
            )
        if self.range and not self.range[0] <= value <= self.range[1]:
            low, high = self.range
            return f"{self.name} is {value:g}, outside its range {low:g} to {high:g}"
        return None


def read_numbers(lines: Iterable[str]) -> dict[str, float]:
    """Read `name: number` lines and `METRIC name=number`; the last value of a name counts."""
    numbers: dict[str, float] = {}
    for line in lines:
        for name, text in _METRIC.findall(line) or _COLON.findall(line):
            if (value := _number(text)) is not None:
                numbers.pop(name, None)  # so that the order is that of each name's last line
                numbers[name] = value
        while len(numbers) > MOST_NUMBERS:
            del numbers[next(iter(numbers))]
    return numbers


def readable(name: str) -> bool:
    """Whether a metric of this name can be found in a log."""
    return re.fullmatch(_NAME, name) is not None


def _number(text: str) -> float | None:
    """A printed float. NaN and infinities are returned; `Metric.problem` rejects them."""
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text.replace(",", "") if _GROUPED.fullmatch(text) else text)
    except ValueError:
        return None

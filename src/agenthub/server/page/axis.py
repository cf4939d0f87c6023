"""The axes of a small chart: from values to pixels, and round numbers as ticks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_TIMES = (60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000)
_MOST, _LEAST = 1e100, 1e-200  # largest value and smallest span that are drawn


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

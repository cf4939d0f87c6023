"""The vertical axis: its range, and the place of a value on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row

_LOG_FROM = 8.0  # worst kept over best value; beyond it the axis is logarithmic


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high` (bottom to top), linear or logarithmic."""

    low: float
    high: float
    log: bool
    best_is_low: bool

    def at(self, value: float) -> float:
        """0 at the bottom, 1 at the top; a value off the axis is at its end."""
        low, high = self._warp(self.low), self._warp(self.high)
        if self.log and value <= 0:
            return 0.0
        return min(1.0, max(0.0, (self._warp(value) - low) / (high - low)))

    def value(self, at: float) -> float:
        """The inverse of `at`."""
        low, high = self._warp(self.low), self._warp(self.high)
        warped = low + at * (high - low)
        return math.exp(warped) if self.log else warped

    def off(self, value: float) -> bool:
        """Whether a value is too bad for this axis."""
        return value > self.high if self.best_is_low else value < self.low

    def padded(self, best: float, worst: float) -> Scale:
        """The same axis, longer by these shares at its two ends."""
        below, above = (best, worst) if self.best_is_low else (worst, best)
        return Scale(self.value(-below), self.value(1 + above), self.log, self.best_is_low)

    @property
    def decimals(self) -> int:
        """Decimals of a tick, enough for ten ticks to differ."""
        return min(12, max(0, math.ceil(-math.log10((self.high - self.low) / 12))))

    def _warp(self, value: float) -> float:
        return math.log(value) if self.log else value


def fit(rows: Sequence[Row], metric: Metric) -> Scale:
    """An axis for all kept values, and for worse ones unless they would flatten the staircase."""
    values = [row.value for row in rows if row.value is not None]
    kept = [row.value for row in rows if row.value is not None and row.status is Status.KEEP]
    if not values:
        return Scale(0.0, 1.0, False, metric.direction == "minimize")
    best, worst_kept = _best(values, metric), _worst(kept or [median(values)], metric)
    log = min(best, worst_kept) > 0 and _ratio(best, worst_kept) > _LOG_FROM
    edge = best if log else worst_kept + _allowance(values, best, worst_kept, metric)
    if log:
        edge = worst_kept**1.25 / best**0.25
    shown = [v for v in values if metric.gain(v, edge) >= 0]
    low, high = sorted((best, _worst([*shown, worst_kept], metric)))
    if high == low:
        half = abs(high) * 0.005 or 0.5
        low, high = low - half, high + half
    return Scale(low, high, log, metric.direction == "minimize")


def _allowance(values: Sequence[float], best: float, worst_kept: float, metric: Metric) -> float:
    """Signed distance beyond the worst kept value that the axis covers: three quarters of the
    staircase, or more when over a quarter of the values lie beyond."""
    excess = [-metric.gain(v, worst_kept) for v in values if metric.better(worst_kept, v)]
    room = 0.75 * abs(worst_kept - best)
    if len(excess) > len(values) / 4:
        room = max(room, 3 * median(excess))
    return room if metric.direction == "minimize" else -room


def _best(values: Sequence[float], metric: Metric) -> float:
    return min(values) if metric.direction == "minimize" else max(values)


def _worst(values: Sequence[float], metric: Metric) -> float:
    return max(values) if metric.direction == "minimize" else min(values)


def _ratio(a: float, b: float) -> float:
    return max(a, b) / min(a, b)

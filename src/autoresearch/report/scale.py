"""The vertical axis: its range, its ticks, and the place of a value on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row

_LOG_FROM = 8.0  # worst kept over best value; beyond it the axis is logarithmic
_DECADE = 10.0  # worst shown over best value; likewise
_FIXED = 9  # decimals of a tick; finer ones get an exponent
_NEAR = 1e-9  # of a step: floats that are this near are equal


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high` (bottom to top), linear or logarithmic."""

    low: float
    high: float
    log: bool
    best_is_low: bool
    limits: tuple[float, float] | None = None  # of the metric: no value lies outside
    seen: tuple[float, float] | None = None  # lowest and highest value on it; None without values

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
        """The same axis, longer by these shares at its two ends, inside the metric's range."""
        below, above = (best, worst) if self.best_is_low else (worst, best)
        return self._within(replace(self, low=self.value(-below), high=self.value(1 + above)))

    def ticks(self, most: int = 7) -> tuple[tuple[float, str], ...]:
        """About `most` round values with their texts, none beyond what was measured."""
        if self.seen is None:
            return ()
        low, high = self.seen
        if low == high or not 0 < (high - low) / (20 * most) < math.inf:
            return ((low, f"{low:,.6g}" if 1e-4 <= abs(low) < 1e9 or not low else f"{low:.3e}"),)
        if self.log:
            return tuple((value, _short(value)) for value in _decades(low, high, most))
        for more in (1, 2, 5, 20):
            step = _round_step((high - low) / (most * more))
            first, last = math.ceil(low / step - _NEAR), math.floor(high / step + _NEAR)
            if last > first:
                break
        values = [index * step for index in range(first, min(last, first + 3 * most) + 1)]
        return tuple((value, _text(value, step, max(abs(low), abs(high)))) for value in values)

    @property
    def decimals(self) -> int:
        """Decimals of a tick, enough for ten ticks to differ."""
        return min(12, max(0, math.ceil(-math.log10((self.high - self.low) / 12))))

    def _warp(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _within(self, longer: Scale) -> Scale:
        """An axis cut at the metric's range, unless nothing would be left of it."""
        if self.limits is None:
            return longer
        low, high = max(longer.low, self.limits[0]), min(longer.high, self.limits[1])
        return replace(longer, low=low, high=high) if low < high else longer


def fit(rows: Sequence[Row], metric: Metric) -> Scale:
    """An axis for all kept values, and for worse ones unless they would flatten the staircase."""
    values = [row.value for row in rows if row.value is not None]
    kept = [row.value for row in rows if row.value is not None and row.status is Status.KEEP]
    best_is_low = metric.direction == "minimize"
    if not values:
        return Scale(0.0, 1.0, False, best_is_low)
    best, worst_kept = _best(values, metric), _worst(kept or [median(values)], metric)
    log = min(best, worst_kept) > 0 and _ratio(best, worst_kept) > _LOG_FROM
    edge = best if log else worst_kept + _allowance(values, best, worst_kept, metric)
    if log:
        edge = worst_kept**1.25 / best**0.25
    shown = [v for v in values if metric.gain(v, edge) >= 0]
    low, high = sorted((best, _worst([*shown, worst_kept], metric)))
    log = log or (low > 0 and high / low > _DECADE)
    seen = (low, high)
    if high == low:
        half = abs(high) * 0.005 or 0.5
        low, high = low - half, high + half
    made = Scale(low, high, log, best_is_low, metric.range, seen)
    return made._within(made)


def _decades(low: float, high: float, most: int) -> list[float]:
    """Round values of a logarithmic axis: as many as fit, powers of ten alone on a long one."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[float] = []
    for factors in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1,)):
        found = [
            value
            for power in range(first, last + 1)
            for factor in factors
            if low <= (value := float(f"{factor}e{power}")) <= high
        ]
        if len(found) <= most + 2:
            break
    return found[:: math.ceil(len(found) / (most + 2))] if found else [low, high]


def _short(value: float) -> str:
    """A round value: `0.02`, `5,000`, `2e-9`."""
    if 1e-4 <= value < 1e6:
        return f"{value:,.6g}"
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    if not exponent:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"


def _text(value: float, step: float, biggest: float) -> str:
    """A tick of a linear axis, with the decimals of its step."""
    if not value:
        return "0"
    decimals = max(0, -math.floor(math.log10(step) + _NEAR))
    if decimals <= _FIXED and 1e-4 <= biggest < 1e12:
        return f"{value:,.{decimals}f}"
    digits = math.floor(math.log10(abs(value)) + _NEAR) - math.floor(math.log10(step) + _NEAR)
    mantissa, _, exponent = f"{value:.{max(0, digits)}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _round_step(rough: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 5) if m * power >= rough * (1 - _NEAR)), 10 * power)


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

"""How many digits a number is shown with: enough to tell the values of a study apart, no more."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

_USUAL = 6  # decimals of a value between 0.001 and 1000
_EXACT = 15  # significant digits of a float that can be trusted


@dataclass(frozen=True)
class Digits:
    """One notation for all values of a study: fixed decimals, or digits and an exponent."""

    decimals: int = _USUAL
    exponent: bool = False  # then `decimals` are those of the mantissa

    @classmethod
    def of(cls, values: Iterable[float], noise: float = 0.0) -> Digits:
        """The notation in which values that differ look different.

        Differences far below the noise (a hundredth of its sd) need not be seen.
        """
        known = sorted({value for value in values if math.isfinite(value)})
        biggest = max(map(abs, known), default=0.0)
        if not biggest:
            return cls()
        finest = max(noise / 100, biggest * 10.0**-_EXACT)
        gaps = [min(high - low, biggest) for low, high in pairwise(known) if high - low >= finest]
        apart = _place(min(gaps, default=finest if len(known) > 1 else biggest))
        apart += any(
            high - low >= finest and round(high, apart) == round(low, apart)
            for low, high in pairwise(known)
        )
        if 1e-3 <= biggest < 1e15 and apart + max(0, 1 - _place(biggest)) <= _EXACT:
            least = _USUAL if biggest < 1000 else max(0, _USUAL - 1 + _place(biggest))
            return cls(max(least, apart))
        return cls(min(_EXACT - 1, max(3, apart - _place(biggest))), exponent=True)

    def value(self, value: float | None) -> str:
        """A value, as `0.997900`; a dash where there is none."""
        if value is None:
            return "-"
        if not math.isfinite(value):
            return str(value)
        if self.exponent:
            return f"{value:.{self.decimals}e}"
        groups = "," if abs(value) >= 1e4 else ""
        return f"{self.rounded(value):{groups}.{self.decimals}f}"

    def difference(self, difference: float | None) -> str:
        """A difference with its sign, as `-0.028214`; a very small one gets an exponent."""
        if difference is None:
            return ""
        text = f"{difference:.3e}" if self.exponent else self.value(difference)
        if difference and not any(digit in "123456789" for digit in text.partition("e")[0]):
            text = f"{difference:.1e}"
        return text if text.startswith("-") else f"+{text}"

    def rounded(self, value: float) -> float:
        """The value as it is shown; never minus zero."""
        if self.exponent:
            return float(f"{value:.{self.decimals}e}")
        return round(value, self.decimals) + 0.0

    def percent(self, value: float, of: float) -> str:
        """The change from `of` to `value` as they are shown: `-2.83 %`; empty from zero."""
        new, old = self.rounded(value), self.rounded(of)
        if not old or not math.isfinite(change := 100 * (new - old) / abs(old)):
            return ""
        if change and abs(change) < 0.005:
            return f"{change:+.1e} %"
        if new and 99.995 <= abs(change) < 100:  # something is left
            return f"{change:+.{min(12, 2 - math.floor(math.log10(100 - abs(change))))}f} %"
        if abs(change) >= 1e9:
            return f"{change:+.1e} %"
        return f"{change:+.2f} %" if abs(change) < 100 else f"{change:+,.0f} %"


def _place(value: float) -> int:
    """Decimals of the first digit that is not zero: 0.02 has 2, 300 has -2."""
    return -math.floor(math.log10(value) + 1e-3)

"""Quantiles of Student's t distribution, for confidence intervals from few runs."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
_EXACT_DF = 60  # above this, quantiles come from a series, accurate to 1e-6


@lru_cache(maxsize=4096)
def t_quantile(alpha: float, df: int) -> float:
    """The value that a Student t with df degrees of freedom exceeds with probability alpha."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    if alpha > 0.5:
        return -t_quantile(1 - alpha, df)
    if df > _EXACT_DF:
        return _t_series(_NORMAL.inv_cdf(1 - alpha), df)
    low, high = 0.0, 1.0
    while _t_tail(high, df) > alpha:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_tail(middle, df) > alpha else (low, middle)
    return (low + high) / 2


def _t_tail(t: float, df: int) -> float:
    """P(T > t), t >= 0: the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(df))
    cosine = math.cos(angle) ** 2
    odd = df % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for k in range(2 + odd, df + 1, 2):
        total += term
        term *= cosine * (k - 1) / k
    inside = math.sin(angle) * total
    if odd:
        inside = 2 / math.pi * (angle + inside)
    return (1 - inside) / 2


def _t_series(z: float, df: int) -> float:
    """Cornish and Fisher's expansion about the normal quantile."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3

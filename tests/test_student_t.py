"""Quantiles of Student's t against printed tables."""

from __future__ import annotations

import pytest

from autoresearch.student_t import t_quantile


@pytest.mark.parametrize(
    ("alpha", "df", "value"),
    [
        (0.01, 1, 31.8205),
        (0.01, 3, 4.5407),
        (0.05, 4, 2.1318),
        (0.005, 10, 3.1693),
        (0.025, 60, 2.0003),
        (0.025, 120, 1.9799),
        (0.5, 7, 0.0),
    ],
)
def test_t_quantiles_are_those_of_the_tables(alpha: float, df: int, value: float) -> None:
    """To four decimals, on both sides of the change of method."""
    assert t_quantile(alpha, df) == pytest.approx(value, abs=1e-4)
    assert t_quantile(1 - alpha, df) == pytest.approx(-value, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_a_chance_lies_between_none_and_all(alpha: float) -> None:
    """Anything else has no quantile."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        t_quantile(alpha, 3)

"""Numbers are shown with the digits that tell the values of a study apart."""

from __future__ import annotations

import pytest

from autoresearch.digits import Digits


@pytest.mark.parametrize(
    ("values", "noise", "shown"),
    [
        ([0.9979, 0.969686], 0.0, ["0.997900", "0.969686"]),
        ([2.012662, 2.012663], 0.0, ["2.012662", "2.012663"]),
        ([1e12, 1e12 + 1], 0.0, ["1,000,000,000,000", "1,000,000,000,001"]),
        (
            [1e12 + 0.5, 1e12 + 1.5, 1e12 + 2.5],
            0.0,
            ["1,000,000,000,000.5", "1,000,000,000,001.5", "1,000,000,000,002.5"],
        ),
        ([1.5e-9, 0.9e-9], 0.0, ["1.500e-09", "9.000e-10"]),
        ([988.39, 0.000913], 0.0, ["988.390000", "0.000913"]),
        ([1.0, 1.0000000000001], 0.0, ["1.0000000000000", "1.0000000000001"]),
        ([12345.678, 12340.1], 2.0, ["12,345.7", "12,340.1"]),
        ([3.3, 3.3], 0.0, ["3.300000", "3.300000"]),
        ([0.0], 0.0, ["0.000000"]),
        ([], 0.0, []),
        ([-0.25, 0.5], 0.0, ["-0.250000", "0.500000"]),
        ([2e-9, float("inf")], 0.0, ["2.000e-09", "inf"]),
        ([1e308, -1e308], 0.0, ["1.000e+308", "-1.000e+308"]),
        ([5e-324, 1e-300], 0.0, ["4.941e-324", "1.000e-300"]),
    ],
)
def test_values_that_differ_look_different(
    values: list[float], noise: float, shown: list[str]
) -> None:
    """Six decimals where they are enough, else as many as are needed, or an exponent."""
    digits = Digits.of(values, noise)
    assert [digits.value(value) for value in values] == shown


def test_noise_hides_digits_that_mean_nothing() -> None:
    """Two runs that are a millionth of an sd apart need no more than the usual digits."""
    assert Digits.of([2.3, 2.3 + 1e-9], noise=0.02) == Digits()


def test_a_difference_has_its_sign_and_is_never_shown_as_nothing() -> None:
    """One that is below the notation's last digit gets an exponent."""
    digits = Digits()
    assert digits.difference(-0.028214) == "-0.028214"
    assert digits.difference(0.5) == "+0.500000"
    assert digits.difference(2.4e-8) == "+2.4e-08"
    assert digits.difference(0.0) == "+0.000000"
    assert digits.difference(None) == ""


def test_percentages_come_from_the_two_values_that_are_shown() -> None:
    """Not from the digits behind them; from zero there is none."""
    assert Digits().percent(0.969686, 0.9979) == "-2.83 %"
    assert Digits().percent(0.9979000001, 0.9979) == "+0.00 %"
    assert Digits().percent(1.0, 0.0) == ""
    assert Digits().percent(-22.48, 988.39) == "-102 %"
    assert Digits(12).percent(1.000001, 1.0) == "+1.0e-04 %"
    assert Digits().percent(0.0009, 988.39) == "-99.9999089 %"
    assert Digits().percent(0.0, 988.39) == "-100 %"
    assert Digits().percent(1e200, 3.0) == "+3.3e+201 %"


def test_nothing_is_minus_zero() -> None:
    """A small negative number is shown as zero without a sign."""
    assert Digits().value(-1e-9) == "0.000000"

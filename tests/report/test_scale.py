"""Scale: the axis shows the staircase, and outliers do not flatten it."""

from __future__ import annotations

import pytest

from autoresearch.report.scale import fit
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row, read_tsv
from report.made import MAXIMIZE, MINIMIZE, made_rows, real_results


def rows(*values: float | None, kept: int = 1) -> list[Row]:
    """Rows of these values; the first `kept` are kept, a missing value is a crash."""
    statuses = [Status.KEEP] * kept + [Status.DISCARD] * len(values)
    return [
        Row(i, "", v, 0.0, Status.CRASH if v is None else s, "")
        for i, (v, s) in enumerate(zip(values, statuses, strict=False))
    ]


def test_an_outlier_does_not_flatten_the_staircase() -> None:
    """A value of 3.2 beside a staircase from 0.998 to 0.973 is off the axis."""
    scale = fit(made_rows(), MINIMIZE)
    assert scale.off(3.2158)
    assert scale.low == pytest.approx(0.973)
    assert scale.high == pytest.approx(0.9979)


def test_the_real_file_keeps_its_height() -> None:
    """Its staircase takes nearly all of the axis, and one trial of 126 is off it."""
    made = read_tsv(real_results())[1]
    scale = fit(made, MINIMIZE)
    assert (scale.low, scale.high) == (0.969686, 0.9979)
    assert [row.value for row in made if row.value and scale.off(row.value)] == [3.215849]


def test_maximize_is_the_mirror_image() -> None:
    """For a score that grows, a far too low one is off the axis."""
    scale = fit(rows(0.5, 0.6, 0.7, 0.68, -40.0, kept=3), MAXIMIZE)
    assert (scale.low, scale.high) == (0.5, 0.7)
    assert scale.off(-40.0)
    assert not scale.off(2.0)
    assert scale.at(0.7) == 1.0


def test_when_most_trials_are_worse_they_are_seen() -> None:
    """A tiny gain among large losses does not push every loss off the axis."""
    losses = [1.90 + 0.01 * i for i in range(8)]
    scale = fit(rows(1.864, 1.8639, *losses, kept=2), MINIMIZE)
    assert not any(map(scale.off, losses))


def test_a_staircase_over_decades_is_logarithmic() -> None:
    """From 1,000 to 5 the axis is logarithmic, and `value` inverts `at`."""
    scale = fit(rows(1000.0, 120.0, 5.0, kept=3), MINIMIZE).padded(0.1, 0.1)
    assert scale.log
    assert scale.value(scale.at(120.0)) == pytest.approx(120.0)
    assert 0 < scale.at(5.0) < scale.at(120.0) < scale.at(1000.0) < 1
    assert scale.at(-1.0) == 0.0


@pytest.mark.parametrize(
    "values", [(), (None, None), (1.0,), (1.0, 1.0), (0.0, 0.0, None), (-1e-12, 1e300), (1e-9,)]
)
@pytest.mark.parametrize("metric", [MINIMIZE, MAXIMIZE], ids=lambda m: m.direction)
def test_any_rows_have_an_axis(values: tuple[float | None, ...], metric: object) -> None:
    """No rows, crashes only, equal and extreme values still give a finite, growing axis."""
    scale = fit(rows(*values), metric).padded(0.1, 0.1)  # type: ignore[arg-type]
    assert scale.low < scale.high
    assert scale.decimals >= 0
    assert all(0 <= scale.at(v) <= 1 for v in values if v is not None)

"""Metric: comparing by better, refusing the impossible, reading numbers from a log."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.lab.metric import (
    MOST_NUMBERS,
    Line,
    Metric,
    read_numbers,
    read_statements,
)

LOW = Metric("val_bpb")
HIGH = Metric("accuracy", "maximize")
finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_./-]{0,20}\Z")


@pytest.mark.parametrize("metric", [LOW, HIGH], ids=["minimize", "maximize"])
@given(value=finite)
def test_no_number_beats_itself(metric: Metric, value: float) -> None:
    """Better is strict: an equal number is not an improvement."""
    assert not metric.better(value, value)


@pytest.mark.parametrize("metric", [LOW, HIGH], ids=["minimize", "maximize"])
@given(value=finite)
def test_a_missing_value_is_worse_than_any(metric: Metric, value: float) -> None:
    """None never wins, and every number beats it."""
    assert metric.better(value, None)
    assert not metric.better(None, value)
    assert not metric.better(None, None)


@pytest.mark.parametrize("metric", [LOW, HIGH], ids=["minimize", "maximize"])
@given(one=finite, other=finite)
def test_one_of_two_different_numbers_is_better(metric: Metric, one: float, other: float) -> None:
    """Better is a strict order, and its direction is the metric's."""
    if one != other:
        assert metric.better(one, other) != metric.better(other, one)
    assert metric.better(one, other) == (one < other if metric is LOW else one > other)


@pytest.mark.parametrize("metric", [LOW, HIGH], ids=["minimize", "maximize"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_never_beats_a_number_and_no_such_value_is_a_record(
    metric: Metric, value: float
) -> None:
    """NaN compares as worse; NaN and infinities are refused by name."""
    assert not metric.better(math.nan, 1.0)
    assert str(value) in (metric.problem(value) or "")


@given(value=finite, over=st.floats(-1e6, 1e6))
def test_a_gain_is_positive_exactly_when_better(value: float, over: float) -> None:
    """The sign of a gain and the word better agree, in both directions."""
    for metric in (LOW, HIGH):
        assert (metric.gain(value, over) > 0) == metric.better(value, over)


@pytest.mark.parametrize("value", [0.0, -0.0, -1e-9, -5.0])
def test_a_log_scale_needs_values_above_zero(value: float) -> None:
    """The message says what was seen, why it is refused, and what would do."""
    problem = Metric("loss", scale="log").problem(value)
    assert problem == f'loss is {value:g}, and metric.scale is "log", which needs a number above 0'
    assert Metric("loss").problem(value) is None
    assert Metric("loss", scale="log").problem(1e-300) is None


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("value", [1e-9, 0.9, 988.0])
def test_worth_is_more_when_better_and_leads_back_to_the_value(
    direction: Any, scale: Any, value: float
) -> None:
    """On a log scale equal ratios are equal differences."""
    metric = Metric("x", direction, scale=scale)
    better = value * (0.5 if direction == "minimize" else 2.0)
    gained = metric.worth(better) - metric.worth(value)
    assert gained == pytest.approx(math.log(2) if scale == "log" else metric.gain(better, value))
    assert metric.value_of(metric.worth(value)) == pytest.approx(value)


@pytest.mark.parametrize(("value", "allowed"), [(0.1, True), (20.0, True), (0.0999, False)])
def test_a_range_includes_its_ends(value: float, allowed: bool) -> None:
    """A value on the edge of the range is a record, one beyond it is not."""
    problem = Metric("val_bpb", range=(0.1, 20.0)).problem(value)
    assert (problem is None) is allowed
    assert allowed or "0.1 to 20" in (problem or "")


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("val_bpb: 1.8640", "val_bpb", 1.864),
        ("  val_bpb:1.8640  ", "val_bpb", 1.864),
        ("val_bpb : 1.8640", "val_bpb", 1.864),
        ("val_bpb:          0.997900", "val_bpb", 0.9979),
        ("loss: -1e-3", "loss", -0.001),
        ("loss: +.5", "loss", 0.5),
        ("loss: 2E3", "loss", 2000.0),
        ("ms/op: 3", "ms/op", 3.0),
        ("METRIC val_bpb=1.5", "val_bpb", 1.5),
        ("[12:00] METRIC val_bpb = 1.5 (best)", "val_bpb", 1.5),
    ],
)
def test_forms_that_are_read(line: str, name: str, value: float) -> None:
    """`name: number` alone on a line, and `METRIC name=number` anywhere."""
    assert read_numbers([line]) == {name: value}


@pytest.mark.parametrize(
    "line",
    [
        "step 120 | loss 3.45",
        "val_bpb: 1.86 nats",
        "the val_bpb: 1.86",
        "val_bpb: one",
        "val_bpb:",
        "val_bpb: 1_000",
        "12: 3",
        "METRIC val_bpb=",
        "METRICS val_bpb=1.0",
        "val_bpb: true",
        "val_bpb: 0x10",
        "val_bpb: 0,9979",
        "val_bpb: 14,200",
        "val_bpb: 1,014,200.5",
        "METRIC val_bpb=1,234",
        "METRIC val_bpb=95%",
        "METRIC val_bpb=0.9 s",
        "METRIC val_bpb=0.9 acc: 1",
        "val_bpb: 1,86",
        "val_bpb: 1,8640",
        "val_bpb: ,1",
        "val_bpb: 1.5,000",
        "val_bpb: \u0661\u0662",
    ],
)
def test_forms_that_are_not_read(line: str) -> None:
    """Prose, words, a decimal comma and half-numbers are not a metric, rather than a wrong one."""
    assert read_numbers([line]) == {}


def test_the_last_of_a_name_counts() -> None:
    """A metric printed on the way is replaced by the one at the end, in either form."""
    assert read_numbers(["val_bpb: 3", "METRIC val_bpb=2", "val_bpb: 1"]) == {"val_bpb": 1.0}


@pytest.mark.parametrize("line", ["val_bpb: pending", "METRIC val_bpb=None", "val_bpb:"])
def test_a_later_line_that_is_no_number_takes_the_earlier_one_away(line: str) -> None:
    """The last statement about a name decides, whether it holds a number or not."""
    assert read_numbers(["val_bpb: 2", line]) == {}
    assert read_numbers([line, "val_bpb: 2"]) == {"val_bpb": 2.0}


def test_several_metrics_on_one_line_are_all_read() -> None:
    """Each `METRIC name=number` of a line counts."""
    line = "METRIC a=1 METRIC b=2, METRIC c=3"
    assert read_numbers([line]) == {"a": 1.0, "b": 2.0, "c": 3.0}


@pytest.mark.parametrize(
    "line", ["METRIC a=1 (best)", "METRIC a=1, then more", "METRIC a=1; done", "METRIC a=1 b=2"]
)
def test_a_remark_may_follow_a_metric(line: str) -> None:
    """In brackets, after a comma, or as a further name; a unit may not."""
    assert read_numbers([line])["a"] == 1.0


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (Line("100%|####| 10/10 [00:00<00:00, 9.1it/s]loss: 0.9"), 0.9),
        (Line("Fit: 100%|####| 10/10 [00:00<00:00]loss: 0.9", redrawn=True), 0.9),
        (Line("step 10/10loss: 0.9", redrawn=True), 0.9),
        (Line("step 10 loss: 0.9", redrawn=True), 0.9),
        (Line("........loss: 0.9"), 0.9),
        (Line("█████loss: 0.9"), 0.9),
        (Line("10/10 loss: 0.3loss: 0.9", redrawn=True), 0.9),
        (Line("100%|####|loss: None", redrawn=True), None),
        (Line("epoch 3 best loss: 0.9", redrawn=True), None),
    ],
)
def test_a_bar_that_was_not_ended_hides_no_wanted_name(line: Line, value: float | None) -> None:
    """Behind a progress bar the line that follows is found, a number or not."""
    found = read_statements([Line("loss: 0.1"), line], ["loss"])
    assert found["loss"].value == value


@pytest.mark.parametrize(
    "line",
    [
        "the loss: 0.9",
        "best loss: 0.9",
        "val_loss: 0.9",
        "x.loss: 0.9",
        "- loss: 0.9",
        "'loss': 0.9",
    ],
)
def test_prose_is_no_statement(line: str) -> None:
    """A name inside a sentence, or a part of a longer name, says nothing about it."""
    found = read_statements([Line("loss: 0.1"), Line(line)], ["loss"])
    assert found["loss"].value == 0.1


def test_nan_and_infinity_are_read_so_that_they_can_be_refused() -> None:
    """A NaN on the last line replaces an earlier number: it must not be hidden by it."""
    numbers = read_numbers(["val_bpb: 1.0", "val_bpb: nan", "loss: -inf"])
    assert math.isnan(numbers["val_bpb"])
    assert numbers["loss"] == -math.inf


def test_a_flood_of_names_is_bounded_and_the_last_survive() -> None:
    """However many names a log makes up, few are kept, and the summary at its end is among them."""
    flood = (f"x{i}: {i}" for i in range(20 * MOST_NUMBERS))
    numbers = read_numbers(["early: 1", *flood, "val_bpb: 1.5"])
    assert len(numbers) == MOST_NUMBERS
    assert numbers["val_bpb"] == 1.5


@given(name=names, value=finite)
def test_whatever_float_is_printed_is_read_back(name: str, value: float) -> None:
    """Both forms round-trip the shortest representation of any finite float."""
    assert read_numbers([f"{name}: {value!r}"]) == {name: value}
    assert read_numbers([f"so far METRIC {name}={value!r}"]) == {name: value}


@given(st.lists(st.text()))
def test_any_text_at_all_can_be_read(lines: list[str]) -> None:
    """No line makes reading fail, and what comes out is floats by name."""
    for name, value in read_numbers(lines).items():
        assert name
        assert isinstance(value, float)


@pytest.mark.parametrize("piece", ["loss: 1 ", "METRIC loss=1 ", "]loss: 1 ", "a: "])
def test_a_long_line_of_statements_takes_the_time_of_its_length(piece: str) -> None:
    """A megabyte of them, behind a bar or not, copies no part of the line more than once."""
    end = "METRIC loss=2" if "METRIC" in piece else "]loss: 2"
    for redrawn in (True, False):
        line = Line(piece * (1_000_000 // len(piece)) + end, redrawn)
        assert read_statements([line], ["loss"])["loss"].value == 2.0

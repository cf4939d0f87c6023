"""Verdicts: one JSON object with a finite number, read strictly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from autoresearch.evaluation.verdicts import MOST, NUMBERS, Scored, read_verdict
from autoresearch.lab.metric import Metric

METRIC = Metric("val_bpb", "minimize", (0.1, 20.0))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a verdict is expected."""
    return tmp_path / "result.json"


def verdict(place: Path, text: str | bytes) -> Scored:
    """What a file of this content is worth."""
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_verdict(place, METRIC)


def test_a_number_and_what_goes_with_it(place: Path) -> None:
    """The metric counts; named numbers are recorded beside it, and nothing else is taken."""
    told = {"metric": 1, "numbers": {"a": 2.5, "b": True, "c": "3", "d": None}, "else": [1]}
    assert verdict(place, json.dumps(told)) == Scored(1.0, numbers={"a": 2.5})


def test_a_reason_is_no_number(place: Path) -> None:
    """With a reason there is no value, whatever else is said."""
    told = {"metric": 0.5, "reason": "tampered" * 99, "detail": "why", "numbers": {"a": 1}}
    found = verdict(place, json.dumps(told))
    assert (found.value, found.detail, found.numbers) == (None, "why", {"a": 1.0})
    assert found.reason.startswith("tampered") and len(found.reason) <= 40


@pytest.mark.parametrize(
    "metric",
    [
        "true",
        "false",
        "null",
        '"1.0"',
        "[1.0]",
        "{}",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "9" * 400,
        "9" * 5000,
        "0x10",
        "01",
        "1_0",
        "0.05",
        "-1",
        "21",
    ],
)
def test_what_is_no_finite_number_in_range_is_invalid(place: Path, metric: str) -> None:
    """Booleans, texts, what is not finite, too large for a float, or out of the metric's range."""
    found = verdict(place, f'{{"metric": {metric}}}')
    assert (found.value, found.reason) == (None, "invalid")
    assert found.detail


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1.0",
        "true",
        "[]",
        '"metric"',
        "metric: 1.0",
        '{"metric": 1.0',
        '{"metric": 1.0} {"metric": 2.0}',
        '{"metric": 1.0}\n0',
        b"\xff\xfe",
        b"\x00" * 100,
        "[" * 60_000,
        '{"a":' * 10_000,
        "{}",
    ],
)
def test_what_is_no_object_is_invalid(place: Path, text: str | bytes) -> None:
    """Half a file, two objects, garbage, or nesting without end: invalid, never a traceback."""
    found = verdict(place, text)
    assert (found.value, found.reason) == (None, "invalid")


def test_of_two_equal_names_the_last_counts_as_in_json(place: Path) -> None:
    """A name said twice cannot pass a check with its one value and count with its other."""
    assert verdict(place, '{"metric": 5, "metric": 1.5}').value == 1.5
    assert verdict(place, '{"metric": 1.5, "metric": true}').value is None


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ('{"metric": 0.5, "invalid": "circles overlap"}', "circles overlap"),
        ('{"metric": NaN, "invalid": "circles overlap"}', "circles overlap"),
        ('{"invalid": true, "detail": "too slow"}', "too slow"),
        ('{"metric": 0.5, "invalid": true}', '"invalid" is True'),
        ('{"metric": 0.5, "invalid": 0}', '"invalid" is 0'),
        ('{"metric": 0.5, "reason": "invalid", "detail": "too slow"}', "too slow"),
    ],
)
def test_a_verdict_can_call_a_candidate_invalid(place: Path, text: str, detail: str) -> None:
    """Its reason is kept, and a number beside it does not count."""
    found = verdict(place, text)
    assert (found.value, found.reason, found.detail) == (None, "invalid", detail)


@pytest.mark.parametrize("said", ["false", "null"])
def test_a_verdict_that_is_not_invalid_counts(place: Path, said: str) -> None:
    """`invalid` may be there and say no."""
    assert verdict(place, f'{{"metric": 0.5, "invalid": {said}}}').value == 0.5


def test_feedback_goes_with_a_number_and_with_a_reason(place: Path) -> None:
    """A text, or a list of lines; cleaned and bounded."""
    said = verdict(place, json.dumps({"metric": 1, "feedback": "case 7\x1b[2J\x00 is slow\nyes"}))
    assert (said.value, said.feedback) == (1.0, "case 7 is slow\nyes")
    listed = verdict(place, json.dumps({"reason": "wrong", "feedback": ["one", {"two": 2}]}))
    assert (listed.reason, listed.feedback) == ("wrong", 'one\n{"two": 2}')
    assert len(verdict(place, json.dumps({"metric": 1, "feedback": "x" * 9999})).feedback) <= 2000


@pytest.mark.parametrize("value", ['"5 ms"', "null", "true", "NaN", "1e999", "[5]"])
def test_a_guard_that_is_no_number_is_named(place: Path, value: str) -> None:
    """Another name's value is dropped without a word."""
    place.write_text(f'{{"metric": 1, "numbers": {{"ms": {value}, "other": {value}}}}}')
    found = read_verdict(place, METRIC, ["ms"])
    assert (found.value, list(found.unread)) == (1.0, ["ms"])
    assert found.unread["ms"].startswith("ms is ")


def test_a_guard_is_read_before_others(place: Path) -> None:
    """Many other numbers do not push it out."""
    told = {"metric": 1.0, "numbers": {**{f"n{i}": i for i in range(500)}, "ms": 7}}
    place.write_text(json.dumps(told))
    assert read_verdict(place, METRIC, ["ms"]).numbers["ms"] == 7


def test_a_verdict_has_its_size(place: Path) -> None:
    """More than 64 KiB are not read."""
    found = verdict(place, '{"metric": 1.0, "x": "' + "x" * MOST + '"}')
    assert found.reason == "invalid"
    assert "at most 65,536" in found.detail


def test_numbers_are_bounded(place: Path) -> None:
    """Of very many named numbers the first hundred are kept."""
    told = {"metric": 1.0, "numbers": {f"n{i}": i for i in range(5 * NUMBERS)}}
    assert len(verdict(place, json.dumps(told)).numbers) == NUMBERS


def test_no_file(place: Path) -> None:
    """No verdict is a reason of its own."""
    assert read_verdict(place, METRIC).reason == "no_metric"


@pytest.mark.parametrize("kind", ["link", "folder", "fifo"])
def test_only_a_regular_file_is_read(place: Path, kind: str) -> None:
    """A link to a good verdict, a folder, or a pipe that nobody writes to is none."""
    good = place.with_name("good.json")
    good.write_text('{"metric": 1.0}')
    if kind == "link":
        place.symlink_to(good)
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    assert read_verdict(place, METRIC).reason == "invalid"

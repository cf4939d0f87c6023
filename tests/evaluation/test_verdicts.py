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

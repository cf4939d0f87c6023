"""The verdict of a judge or a score command, read strictly: one JSON object, a finite number."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from autoresearch.files import read_regular
from autoresearch.lab.metric import Metric
from autoresearch.text import clean_feedback, clean_line

FILE = "result.json"
MOST = 64 * 1024  # bytes of it
NUMBERS = 100  # besides the metric that are read
REASON = 40  # characters of a reason


@dataclass(frozen=True)
class Scored:
    """The number that counts, or the reason why there is none."""

    value: float | None
    reason: str = ""
    detail: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)  # what else was measured
    scores: Mapping[str, float] = field(default_factory=dict)  # by set: validation, holdout
    unread: Mapping[str, str] = field(default_factory=dict)  # name -> why its value is no number
    feedback: str = ""  # the evaluator's own words about the candidate: data, not instructions


def read_verdict(path: Path, metric: Metric, guards: Collection[str] = ()) -> Scored:
    """The verdict in a file. No file, or one that breaks a rule, is a verdict without a number.

    `guards` are names whose numbers are read before others, and named when they are none.
    """
    try:
        answer = json.loads(read_regular(path, MOST))
    except FileNotFoundError:
        return Scored(None, "no_metric", "no verdict was written")
    except (OSError, ValueError, RecursionError) as error:
        return Scored(None, "invalid", f"the verdict cannot be read: {error}")
    if not isinstance(answer, dict):
        return Scored(None, "invalid", f"the verdict is {answer!r:.60}; a JSON object is due")
    told = answer.get("numbers")
    return replace(
        _result(answer, metric),
        numbers=_numbers(told, guards),
        unread=_unread(told, guards),
        feedback=clean_feedback(_text(answer.get("feedback"))),
    )


def says_why(path: Path) -> bool:
    """Whether a file holds a verdict that gives a reason why there is no number."""
    try:
        answer = json.loads(read_regular(path, MOST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and bool(answer.get("reason") or answer.get("invalid"))


def _result(answer: Mapping[str, Any], metric: Metric) -> Scored:
    """The number that counts, or the reason why there is none; `invalid` stands before a number."""
    if reason := answer.get("reason"):
        return Scored(None, clean_line(str(reason), REASON), _text(answer.get("detail")))
    if (invalid := answer.get("invalid", False)) is not False and invalid is not None:
        why = invalid if isinstance(invalid, str) else ""
        detail = why or _text(answer.get("detail")) or f'"invalid" is {invalid!r:.60}'
        return Scored(None, "invalid", detail)
    told = answer.get("metric")
    if not _is_number(told):
        return Scored(None, "invalid", f'"metric" is {told!r:.60}; a finite number is due')
    if problem := metric.problem(float(told)):
        return Scored(None, "invalid", problem)
    return Scored(float(told), scores=_numbers(answer.get("scores")))


def _text(told: object) -> str:
    """A text, or lines of one; anything else as JSON, and nothing as nothing."""
    if told is None:
        return ""
    if isinstance(told, list):
        return "\n".join(map(_text, told))
    return told if isinstance(told, str) else json.dumps(told)


def _numbers(told: object, first: Collection[str] = ()) -> dict[str, float]:
    """Named numbers, those of the names in `first` before others; other entries are dropped."""
    pairs = told.items() if isinstance(told, dict) else ()
    ordered = sorted(pairs, key=lambda pair: pair[0] not in first)
    return {str(k): float(v) for k, v in ordered[:NUMBERS] if k and _is_number(v)}


def _unread(told: object, names: Collection[str]) -> dict[str, str]:
    """What is said about these names and is no number."""
    pairs = told.items() if isinstance(told, dict) else ()
    return {
        k: clean_line(f"{k} is {v!r:.60}, not a finite number")
        for k, v in pairs
        if k in names and not _is_number(v)
    }


def _is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a JSON number that a float can hold; true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False

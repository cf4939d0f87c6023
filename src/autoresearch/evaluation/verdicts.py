"""The verdict of a judge or a score command, read strictly: one JSON object, a finite number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoresearch.files import read_regular
from autoresearch.lab.metric import Metric

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


def read_verdict(path: Path, metric: Metric) -> Scored:
    """The verdict in a file. No file, or one that breaks a rule, is a verdict without a number."""
    try:
        answer = json.loads(read_regular(path, MOST), parse_constant=_refuse, parse_float=_finite)
    except FileNotFoundError:
        return Scored(None, "no_metric", "no verdict was written")
    except (OSError, ValueError, RecursionError) as error:
        return Scored(None, "invalid", f"the verdict cannot be read: {error}")
    if not isinstance(answer, dict):
        return Scored(None, "invalid", f"the verdict is {answer!r:.60}; a JSON object is due")
    numbers = _numbers(answer.get("numbers"))
    if reason := answer.get("reason"):
        return Scored(None, str(reason)[:REASON], str(answer.get("detail", "")), numbers)
    return _value(answer.get("metric"), metric, numbers, _numbers(answer.get("scores")))


def _value(
    told: Any, metric: Metric, numbers: dict[str, float], scores: dict[str, float]
) -> Scored:
    if not _is_number(told):
        return Scored(None, "invalid", f'"metric" is {told!r:.60}; a finite number is due', numbers)
    if problem := metric.problem(float(told)):
        return Scored(None, "invalid", problem, numbers)
    return Scored(float(told), numbers=numbers, scores=scores)


def _numbers(told: object) -> dict[str, float]:
    """Named numbers; other entries are dropped."""
    pairs = told.items() if isinstance(told, dict) else ()
    return {str(k): float(v) for k, v in list(pairs)[:NUMBERS] if _is_number(v)}


def _is_number(value: Any) -> bool:
    """Whether it is a JSON number that a float can hold; true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")

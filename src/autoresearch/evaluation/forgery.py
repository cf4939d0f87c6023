"""Finds out whether a score command computes its number, or copies one that the run wrote.

The number is changed in the run's own files, and scored again: a command that then gives the
changed number believes the candidate, as a log does.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from autoresearch.lab.metric import Metric

LARGEST = 1 << 20  # bytes of a file that is looked into
FILES = 100
NEAR = 1e-3  # relative: a copy may be rounded
FACTORS = (0.97, 1.03, 0.9, 1.1)
_NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])")


def forged_value(value: float, metric: Metric) -> float | None:
    """Another number that the metric allows; None when there is none near by."""
    near = [value * factor for factor in FACTORS] if value else [0.05, -0.05]
    return next((number for number in near if metric.problem(number) is None), None)


def forge(artefacts: Path, target: Path, value: float, instead: float) -> int:
    """Copy a run's files with a number replaced in its text files; how often it was replaced."""
    shutil.copytree(artefacts, target)
    return sum(_replace(path, value, instead) for path in _texts(target))


def is_copy(found: float | None, forged: float) -> bool:
    """Whether a score is the number that was forged."""
    return found is not None and math.isclose(found, forged, rel_tol=NEAR, abs_tol=1e-9)


def _texts(folder: Path) -> Iterator[Path]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    for _, path in zip(range(FILES), files, strict=False):
        if path.stat().st_size <= LARGEST:
            yield path


def _replace(path: Path, value: float, instead: float) -> int:
    """Replace a number in a text file, wherever it stands."""
    count = 0

    def other(match: re.Match[str]) -> str:
        nonlocal count
        if not math.isclose(float(match[0]), value, rel_tol=NEAR, abs_tol=1e-9):
            return match[0]
        count += 1
        return repr(instead)

    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return 0
    changed = _NUMBER.sub(other, text)
    if count:
        path.write_bytes(changed.encode())
    return count

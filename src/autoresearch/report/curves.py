"""A training curve, read from a trial's own log."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from autoresearch.store.rows import Curve

_POINTS = 200
_LINE = 4096  # bytes of a line that are read
_BYTES = 256 * 2**20  # of a log that are read
_PROGRESS = re.compile(r"\bprogress[ :=]+([0-9.]+)\s*(%?)")
_LOSS = re.compile(r"\bloss[ :=]+(\S+)")


def read_curve(log_path: Path) -> Curve:
    """Up to 200 points (progress 0..1, loss), evenly thinned; empty when the log has none.

    Streams lines such as `step 120 | progress 34.2% | loss 3.4561`. When progress falls, the run
    began again, and only the later part counts.
    """
    points: list[tuple[float, float]] = []
    stride, seen = 1, 0
    try:
        with log_path.open("rb") as log:
            for progress, loss in filter(None, map(_point, _lines(log))):
                if points and progress < points[-1][0]:
                    points, stride, seen = [], 1, 0
                if seen % stride == 0:
                    points.append((progress, loss))
                seen += 1
                last = (progress, loss)
                if len(points) == _POINTS:
                    points, stride = points[::2], stride * 2
    except OSError:
        return ()
    if points and last != points[-1]:
        points.append(last)
    return tuple(points)


def _lines(log: BinaryIO) -> Iterator[str]:
    """Pieces of at most `_LINE` bytes, decoded; invalid bytes are replaced."""
    left = _BYTES
    while left > 0 and (line := log.readline(_LINE)):
        left -= len(line)
        yield line.decode("utf-8", "replace")


def _point(line: str) -> tuple[float, float] | None:
    progress, loss = _PROGRESS.search(line), _LOSS.search(line)
    if progress is None or loss is None:
        return None
    try:
        x = float(progress[1]) / (100 if progress[2] else 1)
        y = float(loss[1].replace(",", ""))
    except ValueError:
        return None
    return (x, y) if 0 <= x <= 1.05 and math.isfinite(y) else None

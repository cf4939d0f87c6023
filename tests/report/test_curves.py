"""Curves, read from an untrusted log."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from autoresearch.report.curves import read_curve


def log(folder: Path, text: str | bytes) -> Path:
    """A log with this content."""
    path = folder / "run.log"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def line(step: int, progress: float, loss: float) -> str:
    """A progress line as training prints it."""
    return f"step {step} | progress {progress:.1f}% | loss {loss:.4f} | lr 1.00 | tok/s 14,200\n"


def test_progress_lines_are_points(tmp_path: Path) -> None:
    """Percent become shares; other lines do not matter."""
    text = (
        "compiling\n" + line(1, 0.5, 7.6) + "warning: loss of precision\n" + line(120, 34.2, 3.4561)
    )
    assert read_curve(log(tmp_path, text)) == ((0.005, 7.6), (0.342, 3.4561))


def test_a_long_log_is_thinned_evenly(tmp_path: Path) -> None:
    """At most about 200 points, from the first line to the last, none far from its neighbours."""
    text = "".join(line(i, i / 500, 8 - i / 10_000) for i in range(50_001))
    curve = read_curve(log(tmp_path, text))
    assert 100 <= len(curve) <= 201
    assert (curve[0], curve[-1]) == ((0.0, 8.0), (1.0, 3.0))
    assert max(b[0] - a[0] for a, b in pairwise(curve)) < 0.02


def test_garbage_is_survived(tmp_path: Path) -> None:
    """Bytes, endless lines, NaN and broken numbers give no point and no error."""
    bad = b"progress 1.2.3% | loss 4\nprogress 50% | loss nan\nprogress 900% | loss 2\n"
    bad += os.urandom(50_000) + b"\n" + b"x" * 1_000_000 + b"\n"
    assert read_curve(log(tmp_path, bad + line(9, 10, 5).encode())) == ((0.1, 5.0),)


def test_only_the_last_run_counts(tmp_path: Path) -> None:
    """When progress falls back, the run began again."""
    text = line(1, 10, 5) + line(2, 90, 4) + line(1, 5, 6) + line(2, 50, 3)
    assert read_curve(log(tmp_path, text)) == ((0.05, 6.0), (0.5, 3.0))


def test_no_log_is_no_curve(tmp_path: Path) -> None:
    """A missing file, a folder and an empty log are empty curves."""
    assert read_curve(tmp_path / "none.log") == ()
    assert read_curve(tmp_path) == ()
    assert read_curve(log(tmp_path, "")) == ()

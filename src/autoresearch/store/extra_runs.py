"""Runs beside the record, of verify, ablate and replay: a line of JSON each, kept for good.

A run is found again by its tree and seed, so a repeated command makes no run twice and an
interrupted one goes on.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from autoresearch.student_t import t_quantile

FILE = "runs.jsonl"
VERIFIED, ABLATED = "verify.json", "ablate.json"  # the last results, for the report


@dataclass(frozen=True)
class ExtraRun:
    """One measurement. `tree` names the files that ran; equal trees are equal candidates."""

    tree: str
    seed: int
    value: float | None
    scores: Mapping[str, float] = field(default_factory=dict)  # by set
    reason: str = ""  # why there is no value
    seconds: float = 0.0


@dataclass(frozen=True)
class Gain:
    """How much better one is than another: mean of pairs, and its 95 % interval."""

    mean: float
    low: float | None = None  # None with a single pair
    high: float | None = None

    @classmethod
    def of(cls, differences: Sequence[float]) -> Gain:
        """From differences of pairs, positive when better."""
        mean = fmean(differences)
        if len(differences) < 2:
            return cls(mean)
        error = stdev(differences) / math.sqrt(len(differences))
        half = t_quantile(0.025, len(differences) - 1) * error
        return cls(mean, mean - half, mean + half)


def read_runs(folder: Path) -> list[ExtraRun]:
    """All runs, oldest first; a line that a crash cut off is skipped."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(ExtraRun(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def add_run(folder: Path, run: ExtraRun) -> ExtraRun:
    """Append a run, durably."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a", encoding="utf-8") as stream:
        stream.write("\n" if stream.tell() and not _ends_line(folder / FILE) else "")
        stream.write(json.dumps(asdict(run)) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return run


def _ends_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"

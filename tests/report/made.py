"""Made-up studies for the tests of the report, and the real one where it is present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.report.story import Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row

MINIMIZE = Metric("val_bpb")
MAXIMIZE = Metric("score", "maximize")

TSV = """commit\tval_bpb\tmemory_gb\tstatus\tdescription
baseline\t1.864000\t0.4\tkeep\tbaseline
1a2b3c4\t1.850500\t0.4\tkeep\tMATRIX_LR 0.04 to 0.05
2b3c4d5\t1.871200\t0.4\tdiscard\tadd 5% warmup
3c4d5e6\t0.000000\t0.0\tcrash\tbatch 131K (does not divide)
4d5e6f7\t7.215849\t0.4\tdiscard\ttie the embeddings (broken)
5e6f708\t1.849000\t0.5\tkeep\tshort window 1/8 of the context
"""


def made_rows() -> tuple[Row, ...]:
    """Forty trials: eleven keeps crowded at the start, a crash, one far off the scale."""
    gains = [0.0119, 0.0043, 0.0006, 0.0003, 0.0009, 0.0012, 0.0033, 0.0008, 0.0006, 0.0010]
    rows = [Row(0, "baseline", 0.9979, 44.0, Status.KEEP, "baseline")]
    best = 0.9979
    for number in range(1, 40):
        keep = number - 1 < len(gains)
        if number == 15:
            rows.append(Row(number, "c" * 40, None, 0.0, Status.CRASH, "too large", "oom"))
        elif keep:
            best -= gains[number - 1]
            note = f"keep number {number}: change this and that (a long remark)"
            rows.append(Row(number, f"{number:07x}", best, 44.0, Status.KEEP, note))
        else:
            worse = 3.2158 if number == 20 else best + 0.0002 * (number % 7) + 0.0001
            rows.append(Row(number, f"{number:07x}", worse, 44.0, Status.DISCARD, "no better"))
    return tuple(rows)


def made_story(**facts: str) -> Story:
    """The story of `made_rows`."""
    return Story.of_rows("a made study", MINIMIZE, made_rows(), facts)


def real_results() -> Path:
    """The published results file, or a skip where there is none."""
    root = Path(__file__).parents[2]
    beside = root.parent / "shared" / "data" / "karpathy-h100-mar8-results.tsv"
    path = Path(os.environ.get("AUTORESEARCH_REAL_RESULTS", beside))
    if not path.is_file():
        pytest.skip("no real results file: set AUTORESEARCH_REAL_RESULTS")
    return path

"""Made-up studies for the tests of the report, and the real one where it is present."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.report.stacks import UNTESTED, Stack, Step
from autoresearch.report.story import Story
from autoresearch.store.ledger import Status
from autoresearch.store.rows import Row
from autoresearch.strategies.screening_test import Claim
from autoresearch.strategies.summary import Counts, Figure, NoiseEstimate, OpenSteps, Summary

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


def mirrored() -> Story:
    """The made study for a score that grows."""
    rows = [
        Row(r.number, r.commit, None if r.value is None else 2 - r.value, 1.0, r.status, r.note)
        for r in made_rows()
    ]
    return Story.of_rows("mirrored", MAXIMIZE, rows)


def decades() -> Story:
    """A study on a logarithmic axis."""
    rows = [Row(i, "", 10.0 ** (4 - i), 0, Status.KEEP, f"faster {i}") for i in range(5)]
    return Story.of_rows("decades", MINIMIZE, rows)


def all_crash(experiments: int = 12) -> Story:
    """A baseline of 50, and experiments that all fail in one way."""
    rows = [Row(0, "b" * 40, 50.0, 0.4, Status.KEEP, "baseline")]
    for number in range(1, experiments + 1):
        words = f"ZeroDivisionError: division by zero at line {number}"
        rows.append(
            Row(number, f"{number:040x}", None, 0.0, Status.CRASH, f"edit {number}", "failed",
                parent=0, detail=words)
        )  # fmt: skip
    return Story.of_rows("all crash", Metric("score"), tuple(rows))


def long_study(trials: int = 150) -> Story:
    """A night of confirm: a confirmed stack of five, three open steps, crashes, skips, curves."""
    notes = ["EMBED_LR 0.2 -> 0.35 (local)", "use relu squared in the MLP (structural)",
             "widen the MLP by a quarter and take the bias out of every second layer",
             "WARMDOWN 0.4 -> 0.55 (pair)", "HEAD_DIM 64 -> 32"]  # fmt: skip
    curve = tuple((i / 50, 9 - 6 * (i / 50) ** 0.3) for i in range(51))
    rows, values = [Row(0, "b" * 40, 3.305, 0.4, Status.KEEP, "baseline", curve=curve)], {}
    stack, open_steps, keep = (10, 20, 30, 40, 50), (100, 120, trials - 2), 51
    tip, parent = 3.305, 0
    for number in range(1, trials):
        clock = f"{number // 10:02d}:{number % 60:02d}:00"
        common = {"note": notes[number % 5], "seconds": 42.1, "proposer": "offline",
                  "parent": parent, "created": f"2026-11-30T{clock}+00:00"}  # fmt: skip
        made = Row(
            number, f"{number:040x}", tip + 0.01 * (number % 9), 0.4, Status.DISCARD, **common
        )
        if number in stack or number in open_steps:
            tip -= 0.06
            made, parent = replace(made, value=tip, status=Status.TENTATIVE, curve=curve), number
        elif number == keep:
            note = "confirmation of " + ", ".join(f"#{n} {rows[n].note}" for n in stack)
            made = replace(made, value=tip + 0.02, status=Status.KEEP, proposer="confirm", parent=0,
                           note=note, diff="+WIDE = True\n", curve=curve)  # fmt: skip
            parent = number
        elif number % 17 == 0:
            made = replace(made, value=None, status=Status.CRASH, reason="failed",
                           detail="ZeroDivisionError: division by zero")  # fmt: skip
        elif number % 37 == 0:
            made = replace(made, value=None, status=Status.CRASH, reason="duplicate", skipped=True)
        rows.append(made)
    values = {row.number: row.value for row in rows}
    best = rows[keep].value or 0.0
    gain = Claim(3.305 - best, 3.305 - best - 0.04, 3.305 - best + 0.04)
    summary = Summary(
        Metric("val_bpb", "minimize", (0.0, 100.0)),
        Counts(trials - 2, 1, 5, 3, 0, trials - 21, 8, 3, 1),
        Figure(0, 3.305, 4), Figure(keep, best, 4), gain,
        OpenSteps(3, rows[open_steps[-1]].value, open_steps[-1], 5),
        NoiseEstimate(0.0123, 2.3, 24, "recent"), 61.0, values, frozenset({0, keep}), {keep: gain},
    )  # fmt: skip
    steps = tuple(Step(number, rows[number].note, UNTESTED) for number in stack)
    return Story("a long study", tuple(rows), summary, {"machine": "2 × CPU"},
                 stacks={keep: Stack(keep, steps, notes[0])})  # fmt: skip


def real_results() -> Path:
    """The published results file, or a skip where there is none."""
    root = Path(__file__).parents[2]
    beside = root.parent / "shared" / "data" / "karpathy-h100-mar8-results.tsv"
    path = Path(os.environ.get("AUTORESEARCH_REAL_RESULTS", beside))
    if not path.is_file():
        pytest.skip("no real results file: set AUTORESEARCH_REAL_RESULTS")
    return path

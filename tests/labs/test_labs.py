"""The shipped labs, end to end: made by init, run by the loop, read by the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_lab import git


def autoresearch(folder: Path, *words: str, cache: Path | None = None) -> str:
    """Run a command in a folder as a person would; what it printed."""
    env = os.environ | ({"AUTORESEARCH_CACHE": str(cache)} if cache else {})
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch", *words],
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def trials(lab: Path) -> list[dict[str, object]]:
    """All trials of the lab's study, as exported."""
    return [json.loads(line) for line in autoresearch(lab, "export").splitlines()]


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_nanogpt_trains_and_is_scored_from_nothing(tmp_path: Path) -> None:
    """The cpu preset with a budget of two seconds: data, baseline, an experiment, a page."""
    autoresearch(tmp_path, "init", "lab", "--preset", "cpu")
    lab = tmp_path / "lab"
    text = (lab / "task.toml").read_text()
    (lab / "task.toml").write_text(text.replace("seconds = 20", "seconds = 2"))
    git(lab, "commit", "-qam", "a small budget")
    autoresearch(lab, "prepare", cache=tmp_path / "cache")
    autoresearch(lab, "run", "--trials", "1", cache=tmp_path / "cache")
    baseline, experiment = trials(lab)[:2]  # a confirmation may follow
    assert baseline["status"] == "keep"
    assert experiment["status"] in ("keep", "tentative", "discard"), experiment
    for trial in (baseline, experiment):
        assert 1.5 < trial["value"] < 4.0  # type: ignore[operator]
    numbers = baseline["runs"][0]["numbers"]  # type: ignore[index]
    assert {"val_bpb", "training_seconds", "total_seconds", "peak_vram_mb", "num_steps"} <= set(
        numbers
    )
    assert 2.0 <= numbers["training_seconds"] < 3.0
    autoresearch(lab, "report")
    assert "val_bpb" in next(lab.glob(".autoresearch/*/report/report.html")).read_text()
    assert git(lab, "status", "--porcelain") == ""


def test_speed_finds_a_faster_way_and_keeps_what_passes_its_tests(tmp_path: Path) -> None:
    """The offline proposer tries every declared method; the slowest is not the best."""
    autoresearch(tmp_path, "init", "lab", "--lab", "speed")
    lab = tmp_path / "lab"
    autoresearch(lab, "run", "--trials", "5", cache=tmp_path / "cache")
    found = trials(lab)
    best = [trial for trial in found if trial["status"] == "keep"][-1]
    assert best["value"] < found[0]["value"] / 3  # type: ignore[operator]
    assert "load" in autoresearch(lab, "log").splitlines()[0]  # it is a time that is measured
    assert git(lab, "status", "--porcelain") == ""


def test_speed_refuses_a_fast_way_that_is_wrong(tmp_path: Path) -> None:
    """An edit that breaks the tests is a crash, and the file is put back."""
    autoresearch(tmp_path, "init", "lab", "--lab", "speed")
    lab = tmp_path / "lab"
    before = (lab / "solution.py").read_text()
    (lab / "solution.py").write_text("def primes_below(limit):\n    return [2, 3, 5]\n")
    autoresearch(lab, "try", "-m", "the answer is short", cache=tmp_path / "cache")
    assert [(t["status"], t["reason"]) for t in trials(lab)][1] == ("crash", "checks_failed")
    assert (lab / "solution.py").read_text() == before

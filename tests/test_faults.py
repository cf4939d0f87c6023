"""The fault benchmarks in short form: what they promise holds in every test run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).parent.parent / "benchmarks" / "faults"


def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """One of the fault scripts; its exit code is 1 on any violation."""
    env = os.environ | {"PYTHONPATH": str(FAULTS)}
    script = [sys.executable, str(FAULTS / name), *words]
    return subprocess.run(script, capture_output=True, text=True, env=env)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_loop_killed_again_and_again_ends_as_a_calm_one() -> None:
    """40 times kill -9: table, refs and ledger are byte for byte those of an undisturbed run."""
    done = run("kill.py", "--kills", "40", "--trials", "30", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_loop_killed_among_steps_and_confirmations_ends_as_a_calm_one() -> None:
    """30 times kill -9 where a keep takes a confirmation: record and table are the same."""
    done = run("kill.py", "--kills", "30", "--trials", "24", "--seed", "8", "--noisy")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc for the preloaded library")
@pytest.mark.skipif(sys.platform != "linux", reason="needs LD_PRELOAD")
def test_any_write_may_fail() -> None:
    """Every eleventh write, fsync, rename, truncate or unlink fails: nothing is lost by it."""
    done = run("nth.py", "--step", "11")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "traceback" not in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_full_disk_loses_nothing() -> None:
    """A small disk, full again and again: the study ends as an undisturbed one."""
    done = run("disk.py", "--hits", "8", "--trials", "8")
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr

"""A study that an older version began goes on: same table, refs, record and decisions."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from autoresearch.executors.local import LocalExecutor
from autoresearch.lab.task import Task
from autoresearch.store.ledger import State, Status
from autoresearch.strategies.confirmation import SequentialConfirmation
from autoresearch.study.loop import StopLimits, research
from autoresearch.study.opening import open_study

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "benchmarks" / "faults" / "record.py"
FIXTURES = ROOT / "tests" / "fixtures"


@pytest.fixture
def record() -> ModuleType:
    """The script that recorded the fixtures."""
    spec = importlib.util.spec_from_file_location("record", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded(*words: str) -> str:
    """What the script prints."""
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def with_equal_codes(dump: str) -> str:
    """A dump whose fingerprints are numbered: which are equal is compared, not their version."""
    known: dict[str, int] = {}
    return re.sub(
        r'"code": "(\w+)"', lambda found: f'"code": {known.setdefault(found[1], len(known))}', dump
    )


def runs_before(trial: int, dump: str) -> list[str]:
    """The lines of a dump for the runs of earlier trials."""
    lines = dump.partition("# runs\n")[2].partition("\n\n")[0].splitlines()
    return [line for line in lines if json.loads(line)["trial"] < trial]


def test_a_study_of_schema_3_goes_on(record: ModuleType, tmp_path: Path) -> None:
    """It stopped inside a run, on an open stack: that run is repeated, and trials follow."""
    lab = tmp_path / "lab"
    record.read_fixture(FIXTURES / "schema3", lab)
    task = Task.load(lab)
    strategy = SequentialConfirmation(task.keep)
    with open_study(task, record.TAG, strategy, LocalExecutor()) as study:
        left = study.ledger.unfinished()
        assert left is not None and (left.state, left.number) == (State.RUNNING, 24)
        assert strategy.standing(study.ledger).open_at == 3
        research(study, record.Script(study.ledger), StopLimits(trials=2))
        trials = study.ledger.trials()
        decided = [strategy.decide(trial, study.ledger) for trial in trials if trial.runs]
    assert len(trials) > 26
    assert {trial.state for trial in trials} == {State.APPLIED}
    expected = [(trial.status, trial.reason) for trial in trials if trial.runs]
    assert [(each.status, each.reason) for each in decided] == expected
    assert trials[24].status is Status.TENTATIVE
    last = trials[-1].number  # the session's end confirmed an open step, which the dump does not
    assert runs_before(last, record.dump(lab)) == runs_before(
        last, (FIXTURES / "study-40.dump").read_text()
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("words", [(), ("--from", str(FIXTURES / "schema3"))])
def test_a_study_of_forty_trials_is_the_one_that_schema_3_recorded(words: tuple[str, ...]) -> None:
    """Begun anew or by the old version: table, refs, record and decisions are the same bytes."""
    expected = (FIXTURES / "study-40.dump").read_text()
    assert with_equal_codes(recorded(*words)) == with_equal_codes(expected)

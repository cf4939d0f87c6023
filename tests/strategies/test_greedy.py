"""Greedy: keep if better, discard if not, crash without a number."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Ledger, Run, State, Status, Trial
from autoresearch.strategies.greedy import Greedy

LOW, HIGH = Metric("val_bpb"), Metric("accuracy", "maximize")
BASE = "base"


def judged(ledger: Ledger, value: float | None, reason: str = "") -> Trial:
    """A trial that has been run and measured."""
    trial = ledger.add(Trial(0, BASE, "note", "hand"))
    commit = BASE if trial.number == 0 else f"commit-{trial.number}"
    trial = ledger.advance(trial, State.COMMITTED, commit=commit)
    trial = ledger.advance(trial, State.RUNNING)
    run = Run(0, 42, 1.0, 0, value, 0.0, reason=reason)
    return ledger.measure_run(ledger.add_run(trial, run), run)


def settled(ledger: Ledger, value: float | None, reason: str = "") -> Trial:
    """A trial that greedy has judged, and that stands as it said."""
    trial = judged(ledger, value, reason)
    decision = Greedy().decide(trial, ledger)
    trial = ledger.advance(trial, State.DECIDED, status=decision.status, reason=decision.reason)
    return ledger.advance(trial, State.APPLIED)


@pytest.fixture(params=[LOW, HIGH], ids=["minimize", "maximize"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of each direction in turn."""
    with contextlib.closing(Ledger(tmp_path / "ledger.db", request.param)) as made:
        yield made


def test_the_baseline_is_kept(ledger: Ledger) -> None:
    """With nothing to compare to, any number is the best so far."""
    assert settled(ledger, 1e9).status is Status.KEEP


def test_only_strictly_better_is_kept(ledger: Ledger) -> None:
    """Better by the smallest step is kept; equal and worse are put aside, without a reason."""
    settled(ledger, 1.0)
    step = -1e-12 if ledger.metric is LOW else 1e-12
    assert settled(ledger, 1.0).status is Status.DISCARD
    assert settled(ledger, 1.0 - step).status is Status.DISCARD
    best = settled(ledger, 1.0 + step)
    assert (best.status, best.reason) == (Status.KEEP, "")
    assert settled(ledger, 1.0).status is Status.DISCARD


def test_no_number_is_a_crash_with_its_reason(ledger: Ledger) -> None:
    """A trial without a value crashes for the reason its run names, the baseline included."""
    assert settled(ledger, None, "oom").status is Status.CRASH
    settled(ledger, 1.0)
    crash = settled(ledger, None, "timeout")
    assert (crash.status, crash.reason) == (Status.CRASH, "timeout")


def test_a_crash_before_the_first_number_does_not_raise_the_bar(ledger: Ledger) -> None:
    """The first number after crashed trials is kept."""
    settled(ledger, None, "failed")
    assert settled(ledger, 1.0).status is Status.KEEP


def test_the_best_is_what_is_edited_next(ledger: Ledger) -> None:
    """Select names the last kept commit, whatever was put aside after it."""
    good = 0.5 if ledger.metric is LOW else 2.0
    settled(ledger, 1.0)
    assert Greedy().select(ledger) == BASE
    best = settled(ledger, good)
    settled(ledger, 1.0)
    settled(ledger, None, "failed")
    assert Greedy().select(ledger) == best.commit


def test_selecting_from_nothing_is_a_programming_error(ledger: Ledger) -> None:
    """Without a kept trial there is no parent; the caller has to run the baseline first."""
    with pytest.raises(AssertionError, match="baseline"):
        Greedy().select(ledger)


def test_a_trial_is_judged_against_what_stood_before_it(ledger: Ledger) -> None:
    """Judging again, as after a crash of the harness, gives the same decision."""
    settled(ledger, 1.0)
    trial = judged(ledger, 0.5 if ledger.metric is LOW else 2.0)
    decision = Greedy().decide(trial, ledger)
    trial = ledger.advance(trial, State.DECIDED, status=decision.status)
    assert Greedy().decide(trial, ledger) == decision


values = st.lists(st.none() | st.floats(-100, 100), min_size=1, max_size=12)


@settings(max_examples=12, deadline=None)
@given(values=values, metric=st.sampled_from([LOW, HIGH]))
def test_the_kept_trials_are_the_running_records(
    tmp_path_factory: pytest.TempPathFactory, values: list[float | None], metric: Metric
) -> None:
    """For any sequence of results the staircase is exactly the sequence of strict records."""
    path = tmp_path_factory.mktemp("any") / "ledger.db"
    with contextlib.closing(Ledger(path, metric)) as ledger:
        for value in values:
            settled(ledger, value, "" if value is not None else "failed")
        kept = [trial.value for trial in ledger.kept()]
    records: list[float] = []
    for value in values:
        if value is not None and all(metric.better(value, other) for other in records):
            records.append(value)
    assert kept == records

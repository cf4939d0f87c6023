"""What every strategy promises, run by each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Ledger, Run, State, Status, Trial
from autoresearch.strategies import RunRequest, Strategy
from autoresearch.strategies.registry import STRATEGIES, make_strategy

# Number of each trial in turn, None for a crash: a history that every strategy has to live with.
HISTORY = [3.0, 4.0, None, 2.0, 2.0, None, 2.5, 1.0]
AT_MOST = 20  # runs of one trial


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    """Each strategy in turn."""
    return make_strategy(request.param)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger, lower is better."""
    with contextlib.closing(Ledger(tmp_path / "ledger.db", Metric("val_bpb"))) as made:
        yield made


def ran(ledger: Ledger, trial: Trial, request: RunRequest, value: float | None) -> Trial:
    """One more run for a trial, measured: of itself, or of what it is compared with."""
    trial = ledger.advance(trial, State.RUNNING)
    number, of = len(trial.runs), {t.commit: t.value for t in ledger.trials()}
    value = of[request.commit] if request.commit else value
    run = Run(number, 42 + number, 1.0, 0, value, 0.0, reason="" if value else "failed")
    run = replace(run, commit=request.commit, purpose=request.purpose)
    return ledger.measure_run(ledger.add_run(trial, run), run)


def judged(ledger: Ledger, strategy: Strategy, value: float | None) -> Trial:
    """A whole trial, run as often as the strategy wants."""
    parent = strategy.select(ledger) if len(ledger) else "base"
    trial = ledger.add(Trial(0, parent, "note", "hand"))
    commit = f"commit-{trial.number}" if trial.number else "base"
    trial = ledger.advance(trial, State.COMMITTED, commit=commit)
    while (decision := strategy.decide(trial, ledger)).status is None:
        assert len(trial.runs) < AT_MOST
        trial = ran(ledger, trial, decision.request or RunRequest(), value)
    trial = ledger.advance(trial, State.DECIDED, status=decision.status, reason=decision.reason)
    return ledger.advance(trial, State.APPLIED)


def test_it_has_the_name_it_is_known_by(strategy: Strategy) -> None:
    """What is recorded in a study resolves to the same strategy again."""
    assert strategy.name in STRATEGIES
    assert type(make_strategy(strategy.name)) is type(strategy)


def test_it_starts_from_the_baseline(ledger: Ledger, strategy: Strategy) -> None:
    """A baseline with a number is kept, and the first candidate is made from it."""
    assert judged(ledger, strategy, 3.0).status is Status.KEEP
    assert strategy.select(ledger) == "base"


def test_it_wants_a_run_before_it_decides(ledger: Ledger, strategy: Strategy) -> None:
    """Asked about a candidate that has not run, it asks for a run of it."""
    for number in range(2):
        judged(ledger, strategy, 3.0 - number)
    trial = ledger.add(Trial(0, strategy.select(ledger), "note", "hand"))
    trial = ledger.advance(trial, State.COMMITTED, commit="commit")
    decision = strategy.decide(trial, ledger)
    assert (decision.status, (decision.request or RunRequest()).commit) == (None, "")


def test_it_decides_every_trial(ledger: Ledger, strategy: Strategy) -> None:
    """Keeps only numbers, names a reason for each crash, and always has a commit to go on from."""
    for value in HISTORY:
        trial = judged(ledger, strategy, value)
        assert trial.status is not Status.KEEP or trial.value is not None
        assert (trial.status is Status.CRASH) == (value is None)
        assert trial.status is not Status.CRASH or trial.reason
        assert strategy.select(ledger) in {t.commit for t in ledger.trials()}


def test_a_worse_number_is_never_kept(ledger: Ledger, strategy: Strategy) -> None:
    """The staircase only goes one way."""
    for value in HISTORY:
        judged(ledger, strategy, value)
    kept = [trial.value for trial in ledger.kept()]
    assert kept == sorted(kept, key=lambda value: -(value or 0.0))


def test_it_writes_nothing(ledger: Ledger, strategy: Strategy) -> None:
    """A strategy is a pure function of the ledger: asked twice, it answers the same."""
    for value in HISTORY[:4]:
        judged(ledger, strategy, value)
    before = ledger.trials()
    assert strategy.select(ledger) == strategy.select(ledger)
    assert [strategy.decide(t, ledger) for t in before] == [
        strategy.decide(t, ledger) for t in before
    ]
    assert ledger.trials() == before

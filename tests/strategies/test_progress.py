"""How far a confirmation has come: its pair, its gain, whatever fails on the way."""

from __future__ import annotations

import contextlib
from pathlib import Path

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Ledger
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.progress import ConfirmationProgress, confirmation_progress
from strategies.confirmed import Lab

# Worth of tip and incumbent in each try of a pair; the second try fails and is made again.
TRIES = {10: (50.0, 10.0), 12: (None, 0.0), 13: (30.0, 10.0), 14: (60.0, 0.0), 56: (50.0, 0.0)}


def test_a_confirmation_names_the_pair_that_runs_now(tmp_path: Path) -> None:
    """A pair with a failed run does not count; the gain is the mean of the whole pairs."""
    with contextlib.closing(Ledger(tmp_path / "l.db", Metric("score"))) as ledger:
        ledger.remember(strategy="confirm")
        lab = Lab(ledger)
        lab.baseline()
        steps = tuple(step.number for step in lab.steps(2, gain=4.0))
        tip = lab.rule.due_confirmation(ledger, last=True)
        assert tip is not None
        trial = lab.added(lab.at.incumbent, tip, CONFIRMER)
        seen = []
        while (request := lab.rule.decide(trial, ledger).request) is not None:
            at = confirmation_progress(trial, ledger)
            assert at is not None
            seen.append((at.pair, at.gain, at.claim))
            assert (at.steps, at.pairs) == (steps, 3)
            worth = TRIES[request.seed_index][1 if request.commit else 0]
            trial = lab.ran(trial, request, worth)
        first, second, third = (1, None, False), (2, 40.0, False), (3, 30.0, False)
        assert seen[:8] == [first, first, second, second, second, second, third, third]
        assert seen[8:] == [(3, 40.0, True)] * 2


def test_another_trial_is_no_confirmation(tmp_path: Path) -> None:
    """Neither an edit, nor anything under a rule without confirmations."""
    with contextlib.closing(Ledger(tmp_path / "l.db", Metric("score"))) as ledger:
        lab = Lab(ledger)
        base = lab.baseline()
        assert confirmation_progress(base, ledger) is None
        ledger.remember(strategy="confirm")
        assert confirmation_progress(base, ledger) is None
        (step,) = lab.steps(1, gain=4.0)
        assert confirmation_progress(step, ledger) is None
        tip = lab.rule.due_confirmation(ledger, last=True)
        assert tip is not None
        trial = lab.added(lab.at.incumbent, tip, CONFIRMER)
        assert confirmation_progress(trial, ledger) == ConfirmationProgress(
            (step.number,), 1, 3, None
        )

"""How far a confirmation has come, from its recorded runs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from autoresearch.store.ledger import CLAIM, CONFIRM, Ledger, Run, Trial
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.confirmation import SequentialConfirmation


@dataclass(frozen=True)
class ConfirmationProgress:
    """A confirmation under way: its steps, the pair that runs now, and the gain so far."""

    steps: tuple[int, ...]  # numbers of the trials that it would keep
    pair: int  # that runs now, from 1; pairs with a failed run do not count
    pairs: int  # that it has at most
    gain: float | None  # mean of the whole pairs, positive when better; None before the first
    claim: bool = False  # all pairs are run: one more measures the gain of the keep


def confirmation_progress(trial: Trial, ledger: Ledger) -> ConfirmationProgress | None:
    """How far a confirmation has come; None for another trial or under another rule."""
    rule = SequentialConfirmation.of(ledger)
    if rule is None or trial.proposer != CONFIRMER:
        return None
    steps = tuple(step.number for step in ledger.steps_to(trial.commit, trial.parent))
    gains = _gains([run for run in trial.runs if run.purpose == CONFIRM], ledger)
    most = rule.rule.pairs
    claim = len(gains) >= most or any(run.purpose == CLAIM for run in trial.runs)
    gain = fmean(gains) if gains else None
    return ConfirmationProgress(steps, min(len(gains) + 1, most), most, gain, claim)


def _gains(runs: list[Run], ledger: Ledger) -> list[float]:
    """The gain of tip over incumbent in each pair of runs that both gave a number."""
    gains = []
    for one, other in zip(runs[::2], runs[1::2], strict=False):
        tip, incumbent = (other, one) if one.commit else (one, other)
        if tip.value is not None and incumbent.value is not None:
            gains.append(ledger.metric.gain(tip.value, incumbent.value))
    return gains

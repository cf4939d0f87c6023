"""Greedy: the original's rule. One run each; strictly better than the best is kept."""

from __future__ import annotations

from autoresearch.lab.task import Keep
from autoresearch.store.ledger import Explanation, Kind, Ledger, Status, Trial
from autoresearch.strategies import RUN_AGAIN, Decision


class Greedy:
    """Always edit the best; keep what beats it once. Believes lucky seeds."""

    name = "greedy"

    def __init__(self, keep: Keep | None = None) -> None:
        """It has no settings."""

    def select(self, ledger: Ledger) -> str:
        """The best commit."""
        best = ledger.best()
        assert best is not None, "a study selects only after its baseline"
        return best.commit

    def due_confirmation(self, ledger: Ledger, *, last: bool = False) -> str | None:  # noqa: ARG002
        """Never: one run decides."""
        return None

    def decide(self, trial: Trial, ledger: Ledger) -> Decision:
        """Keep if better, discard if not, crash without a number."""
        if not trial.runs:
            return RUN_AGAIN
        if trial.value is None:
            return Decision(Status.CRASH, trial.own[-1].reason)
        best = ledger.best_before(trial)
        if best is None or best.value is None:
            return Decision(Status.KEEP)
        gain = ledger.metric.gain(trial.value, best.value)
        kind: Kind = "better" if ledger.metric.better(trial.value, best.value) else "worse"
        why = Explanation(kind, best.number, gain)
        return Decision(Status.KEEP if kind == "better" else Status.DISCARD, explanation=why)

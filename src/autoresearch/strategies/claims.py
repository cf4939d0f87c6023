"""What a study claims about itself: its gain, and the value of each keep."""

from __future__ import annotations

from autoresearch.store.ledger import Ledger, Trial
from autoresearch.strategies.confirmation import SequentialConfirmation


def claimed_gain(ledger: Ledger) -> float:
    """The gain of the best over the baseline as the study claims it; positive when better."""
    if (rule := SequentialConfirmation.of(ledger)) is not None:
        return sum(keep.claim.estimate for keep in rule.standing(ledger).confirmed)
    first, best = baseline(ledger), ledger.best()
    assert best is not None and best.value is not None and first.value is not None
    return ledger.metric.gain(best.value, first.value)


def confirmed_values(ledger: Ledger) -> dict[int, float]:
    """The value of each keep, by trial: the baseline's and all confirmed gains up to it.

    A machine drifts, so the plain values of two keeps that are hours apart do not compare. Empty
    under another rule.
    """
    rule = SequentialConfirmation.of(ledger)
    if rule is None or ledger.best() is None:
        return {}
    value, sign = baseline(ledger).value or 0.0, ledger.metric.gain(1.0, 0.0)
    values = {}
    for keep in rule.standing(ledger).confirmed:
        value += sign * keep.claim.estimate
        values[keep.trial] = value
    return values


def baseline(ledger: Ledger) -> Trial:
    """The first kept trial: earlier baselines may have failed before the lab was mended."""
    return ledger.kept()[0]

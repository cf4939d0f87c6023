"""What a study claims about itself: its gain, and the value of each keep."""

from __future__ import annotations

from autoresearch.store.ledger import Ledger, Trial
from autoresearch.strategies.confirmation import SequentialConfirmation


def claimed_gain(ledger: Ledger) -> float:
    """What the study itself says that it gained."""
    if (rule := SequentialConfirmation.of(ledger)) is not None:
        return sum(told.claim.estimate for told in rule.standing(ledger).proven)
    first, best = baseline(ledger), ledger.best()
    assert best is not None and best.value is not None and first.value is not None
    return ledger.metric.gain(best.value, first.value)


def proven_values(ledger: Ledger) -> dict[int, float]:
    """What each keep is worth by what was proven: the baseline, less one gain after another.

    A machine drifts: the plain values of two keeps, hours apart, do not compare.
    """
    rule = SequentialConfirmation.of(ledger)
    if rule is None or ledger.best() is None:
        return {}
    value, sign = baseline(ledger).value or 0.0, ledger.metric.gain(1.0, 0.0)
    worth = {}
    for told in rule.standing(ledger).proven:
        value += sign * told.claim.estimate
        worth[told.trial] = value
    return worth


def baseline(ledger: Ledger) -> Trial:
    """The first that was kept: an earlier one may have failed, and the lab been mended."""
    return ledger.kept()[0]

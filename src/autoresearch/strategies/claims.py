"""What a study claims about itself: its gain, and the value of each keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import Ledger, Trial
from autoresearch.strategies.confirmation import Climb, SequentialConfirmation


@dataclass(frozen=True)
class NoiseEstimate:
    """How far two runs of one commit differ where the study stands: what every output shows."""

    sd: float  # of one run, in the metric's unit, at that level
    level: float  # of the tip, as the study believes it
    runs: int  # that the sd rests on
    how: Literal["none", "pooled", "recent", "relative", "log"]

    @property
    def share(self) -> float | None:
        """The sd as a share of the level, where it is proportional to it."""
        return abs(self.sd / self.level) if self.how in ("relative", "log") else None

    @property
    def words(self) -> str:
        """sd of one run at 2.31: 0.0204, from the last 14 runs."""
        runs = f"{self.runs} runs"
        if self.how == "none":
            return f"no noise: {runs} of one commit were equal"
        start = f"sd of one run at {self.level:.4g}: {self.sd:.3g}"
        if self.share is not None:
            return f"{start}, {100 * self.share:.2g} % of the level, from {runs}"
        return f"{start}, from {'the last ' if self.how == 'recent' else ''}{runs}"


def noise_of(ledger: Ledger) -> NoiseEstimate | None:
    """The one noise of a study, where its tip stands now.

    None before the baseline, and under a rule that does not measure it.
    """
    rule = SequentialConfirmation.of(ledger)
    if rule is None or ledger.best() is None:
        return None
    at = rule.standing(ledger)
    log = ledger.metric.scale == "log"
    how = "none" if at.exact else "log" if log else at.noises.how
    level, sd = believed(at, ledger.metric)
    return NoiseEstimate(sd, level, at.noises.runs, how)


def believed(at: Climb, metric: Metric) -> tuple[float, float]:
    """The level of the tip as the rule believes it and the sd of one run, in the metric's unit."""
    level = metric.value_of(at.level.value)
    return level, at.noise.sd * (level if metric.scale == "log" else 1.0)


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

"""Why a candidate was decided as it was: the numbers of its screening, for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from autoresearch.lab.metric import Metric
from autoresearch.store.ledger import SCREEN, Explanation, Kind, Ledger, Trial
from autoresearch.strategies import CONFIRMER

NOISE = 1.0  # sds below which a difference is called noise


@dataclass(frozen=True)
class Comparison:
    """A candidate's runs less the believed level of the tip, as the rule compares them."""

    gains: Sequence[float]
    sd: float
    grown: int = 0  # nodes or lines of code that it adds

    @property
    def of_step(self) -> Explanation:
        """Why it is a step."""
        return self._as("step")

    @property
    def of_keep(self) -> Explanation:
        """Why one run kept it."""
        return self._as("better")

    @property
    def of_code(self) -> Explanation:
        """Why its gain is not worth its code."""
        return replace(self._as("adds_code"), added=self.grown)

    @property
    def of_loss(self) -> Explanation:
        """Why it does not look better."""
        gain = fmean(self.gains)
        kind: Kind = "within_noise" if abs(gain) < NOISE * self.sd else "worse"
        if gain >= NOISE * self.sd and gain > 0:  # only min_delta can ask for more
            kind = "too_small"
        return replace(self._as(kind), fell_back=len(self.gains) > 1)

    def _as(self, kind: Kind) -> Explanation:
        gain = fmean(self.gains)
        sds = gain / self.sd if self.sd else None
        less = self.grown if self.grown < 0 else None
        return Explanation(kind, gain=gain, sds=sds, sd=self.sd, added=less)


def explained(why: Explanation, trial: Trial, ledger: Ledger) -> Explanation:
    """With the trial that it is compared with, and in the metric's unit."""
    number, metric = ledger.number_of(trial.parent, trial.number), ledger.metric
    why = replace(why, against=number, unit="lines" if trial.nodes is None else "nodes")
    if why.kind == "adds_code" or why.gain is None:
        return _in_unit(why, metric)
    if trial.proposer != CONFIRMER and number is not None:
        why = _as_shown(why, trial, ledger.trial(number), metric)
    return _in_unit(why, metric)


def _as_shown(why: Explanation, trial: Trial, parent: Trial, metric: Metric) -> Explanation:
    """With the difference between the two values that people see.

    The rule compares with what the parent is believed to be, which for a step is less than it
    showed. Where the two values would contradict the decision, the believed one is named.
    """
    values = [run.value for run in trial.own if run.value is not None and run.purpose == SCREEN]
    if why.gain is None or parent.value is None or not values:
        return why
    mean = fmean(map(metric.worth, values))
    gain = mean - metric.worth(parent.value)
    if not why.sd:
        return replace(why, gain=gain)
    sds = gain / why.sd
    if why.kind in ("worse", "within_noise") and sds < NOISE:
        kind: Kind = "worse" if sds <= -NOISE else "within_noise"
        return replace(why, kind=kind, gain=gain, sds=sds)
    if why.kind in ("step", "too_small") and (gain > 0 or why.added):
        return replace(why, gain=gain, sds=sds)
    return replace(why, believed=metric.value_of(mean - why.gain))


def _in_unit(why: Explanation, metric: Metric) -> Explanation:
    """On a log scale gains are shares: a tenth less of a loss, a tenth more of an accuracy."""
    if metric.scale == "linear":
        return why

    def share(gain: float | None) -> float | None:
        if gain is None:
            return None
        return -math.expm1(-gain) if metric.direction == "minimize" else math.expm1(gain)

    return replace(
        why, gain=share(why.gain), low=share(why.low), high=share(why.high), relative=True
    )

"""Which proposer earned what, recomputed from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from autoresearch.report.proposer_stats import NOISE_ARM, ProposerStats
from autoresearch.store.ledger import Ledger, State, Status, Trial
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.confirmation import Confirmed, SequentialConfirmation

CONTROLS = (NOISE_ARM, "random")  # that are controls wherever they propose


def earned(ledger: Ledger) -> tuple[ProposerStats, ...]:
    """An arm for each proposer, in the order in which they first appear.

    A keep's gain is what the study claims for it: of `confirm` what was proven, else its value
    less that of the keep before. The gain of a proof is shared among the steps that it proves in
    proportion to what the runs of each had shown when it was climbed, none counting for less than
    nothing; where none had shown a gain, equally. That share is an attribution, not a measurement:
    `ablate` measures what each change is worth. Baseline and proofs are nobody's trials; costs are
    those of the spend table, failed proposals included.
    """
    controls = {*CONTROLS, *_asked_for(ledger.facts.get("controls", ""))}
    arms: dict[str, ProposerStats] = {}
    gains = gains_by_trial(ledger)
    for trial in filter(_is_experiment, ledger.trials()):
        arm = arms.get(trial.proposer) or ProposerStats(
            trial.proposer, control=trial.proposer in controls
        )
        arms[trial.proposer] = replace(
            arm,
            trials=arm.trials + 1,
            steps=arm.steps + (trial.status is Status.TENTATIVE),
            kept=arm.kept + (trial.number in gains),
            gain=arm.gain + gains.get(trial.number, 0.0),
        )
    for cost in ledger.spends():
        arm = arms.get(cost.proposer) or ProposerStats(
            cost.proposer, control=cost.proposer in controls
        )
        arms[cost.proposer] = replace(arm, usd=arm.usd + cost.usd, tokens=arm.tokens + cost.tokens)
    return tuple(arms.values())


def gains_by_trial(ledger: Ledger) -> Mapping[int, float]:
    """What every kept experiment gained, by its number; those kept by a proof have their share."""
    if ledger.best() is None:
        return {}
    if (rule := SequentialConfirmation.of(ledger)) is None:
        return dict(_plain_gains(ledger))
    return {
        number: gain
        for told in rule.standing(ledger).confirmed
        for number, gain in _shares(told).items()
    }


def _plain_gains(ledger: Ledger) -> Iterator[tuple[int, float]]:
    """Of each keep the difference to the one before."""
    kept = ledger.kept()
    for before, trial in pairwise(kept):
        if trial.value is not None and before.value is not None:
            yield trial.number, ledger.metric.gain(trial.value, before.value)


def _shares(told: Confirmed) -> Mapping[int, float]:
    """A proven gain by the trials that it is made of."""
    if not told.steps:
        return {told.trial: told.claim.estimate}
    weights: Sequence[float] = [max(0.0, gain) for gain in told.shown]
    if not (whole := sum(weights)):
        weights, whole = [1.0] * len(told.steps), float(len(told.steps))
    shares = [told.claim.estimate * weight / whole for weight in weights]
    return dict(zip(told.steps, shares, strict=True))


def _is_experiment(trial: Trial) -> bool:
    done = trial.state is State.APPLIED
    return done and not trial.is_baseline and trial.proposer != CONFIRMER


def _asked_for(controls: str) -> set[str]:
    """The names in `noop=0.1,llm:MODEL=0.2`, as trials bear them."""
    return {part.rpartition("=")[0].partition(":")[0].strip() for part in controls.split(",")}

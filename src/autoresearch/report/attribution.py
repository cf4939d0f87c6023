"""What each proposer gained and cost, recomputed from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from autoresearch.report.proposer_stats import NOISE_CONTROL, ProposerStats
from autoresearch.store.ledger import UNSTATED, Ledger, State, Status, Trial
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.confirmation import Confirmed, SequentialConfirmation

CONTROLS = (NOISE_CONTROL, "random")  # proposers that are controls in every study


def proposer_stats(ledger: Ledger) -> tuple[ProposerStats, ...]:
    """One entry a proposer, in the order in which they first appear.

    A keep's gain is the one that the study claims: under `confirm` the confirmed estimate, else its
    value less that of the keep before. The gain of a confirmation is divided among its steps in
    proportion to the gain that the runs of each had shown when it became a step (a loss counts as
    zero; if no step had shown a gain, all get the same). Such a share is an attribution, not a
    measurement: `ablate` measures each change. Baseline and confirmations belong to no proposer.
    Costs come from the spend table, failed proposals included.
    """
    controls = {*CONTROLS, *_control_names(ledger.facts.get("controls", ""))}
    stats: dict[str, ProposerStats] = {}

    def stats_of(proposer: str) -> ProposerStats:
        return stats.get(proposer) or ProposerStats(proposer, control=proposer in controls)

    gains = gains_by_trial(ledger)
    for trial in filter(_is_experiment, ledger.trials()):
        before = stats_of(trial.proposer)
        stats[trial.proposer] = replace(
            before,
            trials=before.trials + 1,
            steps=before.steps + (trial.status is Status.TENTATIVE),
            kept=before.kept + (trial.number in gains),
            gain=before.gain + gains.get(trial.number, 0.0),
        )
    for cost in ledger.spends():
        before = stats_of(cost.proposer)
        stats[cost.proposer] = replace(
            before,
            usd=before.usd + (cost.usd if cost.kind != UNSTATED else 0.0),
            tokens=before.tokens + cost.tokens,
            unstated_usd=before.unstated_usd + (cost.usd if cost.kind == UNSTATED else 0.0),
        )
    return tuple(stats.values())


def gains_by_trial(ledger: Ledger) -> Mapping[int, float]:
    """The gain of each kept experiment by its number; a confirmed step has its share."""
    if ledger.best() is None:
        return {}
    if (rule := SequentialConfirmation.of(ledger)) is None:
        return dict(_differences(ledger))
    return {
        number: gain
        for confirmed in rule.standing(ledger).confirmed
        for number, gain in _shares(confirmed).items()
    }


def _differences(ledger: Ledger) -> Iterator[tuple[int, float]]:
    """The number of each keep after the first, and its gain over the keep before."""
    kept = ledger.kept()
    for before, trial in pairwise(kept):
        if trial.value is not None and before.value is not None:
            yield trial.number, ledger.metric.gain(trial.value, before.value)


def _shares(confirmed: Confirmed) -> Mapping[int, float]:
    """A confirmed gain, divided among its steps; all of it is the trial's own without steps."""
    gain = confirmed.claim.estimate
    if not confirmed.steps:
        return {confirmed.trial: gain}
    weights: Sequence[float] = [max(0.0, shown) for shown in confirmed.shown]
    if not (whole := sum(weights)):
        weights, whole = [1.0] * len(confirmed.steps), float(len(confirmed.steps))
    shares = [gain * weight / whole for weight in weights]
    return dict(zip(confirmed.steps, shares, strict=True))


def _is_experiment(trial: Trial) -> bool:
    done = trial.state is State.APPLIED
    return done and not trial.is_baseline and trial.proposer != CONFIRMER


def _control_names(controls: str) -> set[str]:
    """The proposers in `noop=0.1,llm:MODEL=0.2`, by the names that trials bear: noop, llm."""
    return {part.rpartition("=")[0].partition(":")[0].strip() for part in controls.split(",")}

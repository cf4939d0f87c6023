"""Keep rules, each as one study on a machine whose truth is known. `stacks` is the real rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from worlds import Machine

from autoresearch.strategies.noise import LocalNoise, NoiseRecord, Pair, PooledNoise
from autoresearch.strategies.screening_test import (
    Claim,
    Confirmation,
    Level,
    Rule,
    alpha_for,
    assess,
    claim,
    holds,
    screen,
    stack_due,
)

A_A = 4  # runs of the baseline


@dataclass
class Outcome:
    """What a study did: truth and claim in sds, keeps, and those of them that gained nothing."""

    true: float = 0.0
    claimed: float = 0.0
    keeps: int = 0
    idle: int = 0  # kept edits whose own true effect is not above 0
    false: int = 0  # kept edits in a keep that as a whole gained nothing
    trials: int = 0
    runs: int = 0
    confirmations: int = 0
    confirmed: int = 0
    covered: int = 0  # claims whose interval holds the truth
    revoked: int = 0  # would-be keeps whose claim did not show a gain


@dataclass(frozen=True)
class Limit:
    """When a study ends: after so many runs or so many trials."""

    runs: int = 10**9
    trials: int = 10**9

    def reached(self, machine: Machine, outcome: Outcome) -> bool:
        """Whether no further trial starts."""
        return machine.runs >= self.runs or outcome.trials >= self.trials


Policy = Callable[[Machine, Limit], Outcome]


def ended(machine: Machine, outcome: Outcome) -> Outcome:
    """With the runs that the study took."""
    outcome.runs = machine.runs
    return outcome


def margin(width: float) -> Policy:
    """One run each; kept when better than the best run by `width` sds. 0 is greedy."""

    def study(machine: Machine, limit: Limit) -> Outcome:
        outcome = Outcome()
        first = best = machine.run(0.0)
        while not limit.reached(machine, outcome):
            outcome.trials += 1
            effect = machine.propose()
            value = machine.run(outcome.true + effect)
            if value > best + width:
                best = value
                _kept(outcome, effect)
        outcome.claimed = machine.gain(best - first, 0.0)
        return ended(machine, outcome)

    return study


def two_fresh(machine: Machine, limit: Limit) -> Outcome:
    """A screen, two fresh runs that alone count, and the incumbent once more; the mean decides."""
    outcome = Outcome()
    incumbent = [machine.run(0.0) for _ in range(2)]
    while not limit.reached(machine, outcome):
        outcome.trials += 1
        effect = machine.propose()
        if machine.run(outcome.true + effect) <= fmean(incumbent):
            continue
        incumbent.append(machine.run(outcome.true))
        fresh = [machine.run(outcome.true + effect) for _ in range(2)]
        if (gain := fmean(fresh) - fmean(incumbent)) > 0:
            incumbent = fresh
            outcome.claimed += machine.gain(gain, outcome.true)
            _kept(outcome, effect)
    return ended(machine, outcome)


def _kept(outcome: Outcome, effect: float) -> None:
    outcome.true += effect
    outcome.keeps += 1
    outcome.idle += effect <= 0
    outcome.false += effect <= 0


@dataclass
class Stacks:
    """A study under the package's rule: steps move the tip, confirmations the incumbent."""

    machine: Machine
    rule: Rule
    outcome: Outcome = field(default_factory=Outcome)
    tip: float = 0.0
    effects: list[float] = field(default_factory=list)
    confirmations: list[Confirmation] = field(default_factory=list)
    open_at: int = 0
    quiet: int = 0

    def __post_init__(self) -> None:
        runs = [self.machine.run(0.0) for _ in range(A_A)]
        kind = PooledNoise if self.rule.version == 1 else LocalNoise
        self.noise: NoiseRecord = kind.of(runs)
        self.wild = [False, False]  # whether tip and incumbent are restless
        self.level = self.incumbent_level = Level.of(runs)

    def study(self, limit: Limit) -> Outcome:
        """Trial after trial; the last runs are to confirm what is still tentative."""
        last = replace(limit, runs=limit.runs - 2 * (self.rule.pairs + 1))
        while not last.reached(self.machine, self.outcome):
            self.outcome.trials += 1
            self.quiet += 1
            if self.stepped() and stack_due(len(self.effects), self.rule, open_at=self.open_at):
                self.confirm()
            if self.quiet >= self.rule.refresh:
                self.level = self.level.seen(self.machine.run(self.tip), self.rule)
                self.quiet = 0
        if len(self.effects) > self.open_at:
            self.confirm()
        return ended(self.machine, self.outcome)

    def stepped(self) -> bool:
        """One trial; True when it became the tip."""
        effect, gains = self.machine.propose(), list[float]()
        wild = self.machine.unsettles() or self.wild[0]
        noise, answer = self.noise.at(self.level.value), "again"
        while answer == "again":
            gains.append(self.machine.run(self.tip + effect, wild) - self.level.value)
            decision = screen(gains, noise, self.rule)
            answer = decision.answer
        if answer != "keep":
            return False
        self.noise = self.noise.with_step([self.level.value + gain for gain in gains])
        noise = self.noise.at(self.level.value + decision.estimate)
        self.level = self.level.stepped(decision.estimate, noise, self.rule)
        self.tip += effect
        self.effects.append(effect)
        self.quiet, self.wild[0] = 0, wild
        return True

    def confirm(self) -> None:
        """Tip against incumbent, in pairs, until the rule decides."""
        now = Confirmation(self.outcome.trials, len(self.effects))
        alpha = alpha_for(now.trials, now.steps, self.confirmations, self.rule)
        self.confirmations.append(now)
        self.outcome.confirmations += 1
        pairs, extra = list[Pair](), list[Pair]()
        answer = "again"
        while answer == "again":
            pairs.append(self.pair(len(pairs)))
            noise = self.noise.of_pairs(pairs)
            answer = assess(differences(pairs), noise, self.rule, alpha).answer
        if answer == "keep":
            extra = [self.pair(len(pairs))]
            after = self.noise.of_pairs(pairs + extra)
            told = claim(
                differences(pairs), differences(extra), noise, self.rule, alpha, after=after
            )
            if not holds(told, self.rule):
                answer = "open" if told.estimate > 0 else "discard"
                self.outcome.revoked += 1
        if answer == "open" and self.rule.steps == 1:
            answer = "discard"
        self.noise = self.noise.with_pairs(pairs, extra, at_tip=answer != "discard")
        for new, old in pairs + extra:
            self.level = self.level.seen(new, self.rule)
            self.incumbent_level = self.incumbent_level.seen(old, self.rule)
        if answer == "keep":
            self.keep(told)
        elif answer == "open":
            self.open_at = len(self.effects)
        else:
            self.drop()

    def pair(self, number: int) -> Pair:
        """Tip and incumbent, in the order A-B-B-A."""
        if number % 2:
            old = self.machine.run(self.outcome.true, self.wild[1])
            return self.machine.run(self.tip, self.wild[0]), old
        new = self.machine.run(self.tip, self.wild[0])
        return new, self.machine.run(self.outcome.true, self.wild[1])

    def keep(self, told: Claim) -> None:
        """The tip is the incumbent; count what was confirmed."""
        before, gained = self.outcome.true, self.tip - self.outcome.true
        self.outcome.claimed += self.machine.gain(told.estimate, before)
        self.outcome.confirmed += 1
        low, high = (self.machine.gain(end, before) for end in (told.low, told.high))
        self.outcome.covered += low <= gained <= high
        self.outcome.keeps += len(self.effects)
        self.outcome.idle += sum(effect <= 0 for effect in self.effects)
        self.outcome.false += len(self.effects) if gained <= 0 else 0
        self.outcome.true, self.incumbent_level = self.tip, self.level
        self.effects, self.open_at, self.wild[1] = [], 0, self.wild[0]

    def drop(self) -> None:
        """The tip goes back to the incumbent."""
        self.tip, self.level = self.outcome.true, self.incumbent_level
        self.effects, self.open_at, self.wild[0] = [], 0, self.wild[1]


def differences(pairs: Sequence[Pair]) -> list[float]:
    """What the tip gains in each pair."""
    return [new - old for new, old in pairs]


def stacks(rule: Rule) -> Policy:
    """The package's rule with these settings."""
    return lambda machine, limit: Stacks(machine, rule).study(limit)


POLICIES: dict[str, Policy] = {
    "greedy": margin(0.0),
    "2 sd margin": margin(2.0),
    "screen + 2 fresh": two_fresh,
    "each step confirmed": stacks(Rule(steps=1, hurdles=(0.7, 0.7))),
    "stacks of 5, rule 1": stacks(Rule(version=1)),
    "stacks of 5": stacks(Rule()),
}

"""Worlds of proposals: what an edit truly gains, in sds of one run, and how the machine drifts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Effect = Callable[[np.random.Generator, int], float]  # the number of the trial, from 0


@dataclass(frozen=True)
class World:
    """A name, what one proposal gains, and how runs differ: in all but the last, by 1 sd."""

    name: str
    effect: Effect
    drift: float = 0.0  # sd of the machine's random walk per run
    outliers: float = 0.0  # share of runs that are far worse; all runs together have an sd of 1
    growth: float = 0.0  # of the noise per run: its sd is exp(growth x runs), 0.1 to 10
    level: float = 0.0  # of the baseline, where the sd is proportional to the level
    restless: float = (
        0.0  # share of proposals that make the noise of their commit five times as large
    )


REGULAR = 0.16  # sd of a run that is no outlier, as in 949 runs of a stochastic program


class Machine:
    """Runs commits of a known true value with noise, and counts."""

    def __init__(self, world: World, seed: tuple[int, ...]) -> None:
        self.world, self.runs, self.proposals, self._slow = world, 0, 0, 0.0
        self._rng = np.random.default_rng(seed)

    def run(self, value: float, restless: bool = False) -> float:
        """One run under a fresh seed of a commit that is so many sds better than the baseline."""
        self.runs += 1
        if self.world.drift:
            self._slow += self.world.drift * self._rng.standard_normal()
        return self.worth(value) + self._slow + self._noise(value) * (5.0 if restless else 1.0)

    def worth(self, value: float) -> float:
        """The metric, more is better; of relative noise each sd is a share of the level."""
        level = self.world.level
        return -level * math.exp(-value / level) if level else value

    def gain(self, claimed: float, value: float) -> float:
        """A claimed gain over a commit, in sds of its runs."""
        level = self.world.level
        if not level:
            return claimed
        return -level * math.log(max(1e-9, 1 + claimed / self.worth(value)))

    def propose(self) -> float:
        """The true gain of the next edit over its parent."""
        self.proposals += 1
        return self.world.effect(self._rng, self.proposals - 1)

    def unsettles(self) -> bool:
        """Whether the next edit makes the noise larger."""
        return bool(self.world.restless) and self._rng.random() < self.world.restless

    def _noise(self, value: float) -> float:
        world, normal = self.world, float(self._rng.standard_normal())
        if world.outliers:
            far = math.sqrt((1 - REGULAR**2) / world.outliers / (1 - world.outliers))
            return REGULAR * normal - far * (self._rng.random() < world.outliers)
        if world.growth:
            return normal * min(10.0, max(0.1, math.exp(world.growth * self.runs)))
        return normal * math.exp(-value / world.level) if world.level else normal


@dataclass(frozen=True)
class Mix:
    """Share and mean of exponential gains, share without effect, mean of the exponential losses."""

    good: float
    good_mean: float
    null: float
    bad_mean: float

    def draw(self, rng: np.random.Generator) -> float:
        """One effect."""
        chance = rng.random()
        if chance < self.good:
            return float(rng.exponential(self.good_mean))
        return 0.0 if chance < self.good + self.null else -float(rng.exponential(self.bad_mean))


# Fitted by fit.py to a published night of 126 runs: first the harvest, then the slog.
TURN = 15
EARLY = Mix(0.593, 7.38, 0.070, 0.72)
LATE = Mix(0.162, 0.86, 0.457, 5.52)


def mix(rng: np.random.Generator, _: int) -> float:
    """10 % good by 0.3 to 2 sd, 40 % without effect, 50 % bad by 0.3 to 4 sd."""
    chance = rng.random()
    if chance < 0.1:
        return float(rng.uniform(0.3, 2.0))
    return 0.0 if chance < 0.5 else -float(rng.uniform(0.3, 4.0))


def log(rng: np.random.Generator, number: int) -> float:
    """As in a real log: large gains at first, then few and small ones."""
    return (EARLY if number < TURN else LATE).draw(rng)


def late(rng: np.random.Generator, _: int) -> float:
    """A real log after its harvest."""
    return LATE.draw(rng)


def nothing(*_: object) -> float:
    """No edit does anything, as if each were a no-op."""
    return 0.0


def idle(rng: np.random.Generator, number: int) -> float:
    """Half of the edits are no-ops, the others are the mix."""
    return 0.0 if rng.random() < 0.5 else mix(rng, number)


SEVENTH = 0.145  # share of outliers, as in 949 runs of one stochastic program
GROWTH = 0.01  # of the noise per run, up to ten times or down to a tenth
WALK = 0.1  # sd of the machine's random walk per run, in sds of one run
WORLDS = {
    "mix": World("mix", mix),
    "log": World("log", log),
    "late": World("late", late),
    "no-ops": World("no-ops", idle),
    "drift": World("drift", mix, WALK),
    "null": World("null", nothing),
    "null, drift": World("null, drift", nothing, WALK),
    "outliers": World("outliers", mix, outliers=SEVENTH),
    "null, outliers": World("null, outliers", nothing, outliers=SEVENTH),
    "shrinking noise": World("shrinking noise", mix, growth=-GROWTH),
    "null, shrinking noise": World("null, shrinking noise", nothing, growth=-GROWTH),
    "null, growing noise": World("null, growing noise", nothing, growth=GROWTH),
    "relative noise": World("relative noise", mix, level=10.0),
    "null, noisier edits": World("null, noisier edits", nothing, restless=0.2),
}

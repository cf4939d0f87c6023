"""Worlds of proposals: what an edit truly gains, in sds of one run, and how the machine drifts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Effect = Callable[[np.random.Generator, int], float]  # the number of the trial, from 0


@dataclass(frozen=True)
class World:
    """A name, what one proposal gains, and the sd of the machine's random walk per run."""

    name: str
    effect: Effect
    drift: float = 0.0


class Machine:
    """Runs commits of a known true value with noise of sd 1, and counts."""

    def __init__(self, world: World, seed: tuple[int, ...]) -> None:
        self.world, self.runs, self.proposals, self._slow = world, 0, 0, 0.0
        self._rng = np.random.default_rng(seed)

    def run(self, value: float) -> float:
        """One run under a fresh seed."""
        self.runs += 1
        if self.world.drift:
            self._slow += self.world.drift * self._rng.standard_normal()
        return value + self._slow + float(self._rng.standard_normal())

    def propose(self) -> float:
        """The true gain of the next edit over its parent."""
        self.proposals += 1
        return self.world.effect(self._rng, self.proposals - 1)


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


WALK = 0.1  # sd of the machine's random walk per run, in sds of one run
WORLDS = {
    "mix": World("mix", mix),
    "log": World("log", log),
    "late": World("late", late),
    "no-ops": World("no-ops", idle),
    "drift": World("drift", mix, WALK),
    "null": World("null", nothing),
    "null, drift": World("null, drift", nothing, WALK),
}

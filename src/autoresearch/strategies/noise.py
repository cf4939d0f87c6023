"""How far two runs of one commit differ, where the study stands now.

Values are gains, positive when better; of a metric on a log scale they are logarithms. Rule 1 took
one sd for the whole study (`PooledNoise`), rule 2 has it follow the incumbent (`LocalNoise`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Literal, Protocol

How = Literal["pooled", "recent", "relative"]
Pair = tuple[float, float]  # the values of tip and incumbent on one seed

WINDOW = 30  # degrees of freedom after which older runs do not count
CUT = 10.83  # of Bartlett's statistic: equal variances exceed it once in a thousand times
FITS = 2.0  # log likelihood by which relative noise must fit better than constant noise
MOST_RELATIVE = 1 / 3  # sd over level, above which a level is no measure of noise
FARTHEST = 1e150  # distance beyond which squares have no number
LUCKY = 0.8  # variance between the two screening runs of a step, as a share of the true one
_ROOT2 = math.sqrt(2)


@dataclass(frozen=True)
class Noise:
    """The sd of one run under fresh seeds, and how many degrees of freedom it rests on."""

    sd: float
    df: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sd) and self.sd >= 0 and self.df >= 1):
            raise ValueError(f"noise needs a finite sd >= 0 and df >= 1, not {self.sd}, {self.df}")

    @classmethod
    def of(cls, squares: float, df: int) -> Noise:
        """From a sum of squares and its degrees of freedom."""
        return cls(math.sqrt(squares / df), df)

    @classmethod
    def pooled(cls, groups: Iterable[Sequence[float]]) -> Noise:
        """From groups of runs, each of one commit; ValueError when none has two runs."""
        total, df = 0.0, 0
        for group in groups:
            total += squares(group)
            df += max(0, len(group) - 1)
        if not df:
            raise ValueError("noise needs one commit with at least two runs")
        return cls(math.sqrt(total / df), df)

    def joined(self, group: Sequence[float]) -> Noise:
        """With one more group; for pairs, the group is their differences over the root of 2."""
        df = self.df + max(0, len(group) - 1)
        return Noise(math.sqrt((self.sd**2 * self.df + squares(group)) / df), df)


class NoiseRecord(Protocol):
    """What the runs of a study say about noise; each change gives a new record."""

    @property
    def how(self) -> How:
        """How the sd is found."""

    @property
    def runs(self) -> int:
        """How many runs it rests on."""

    def at(self, level: float) -> Noise:
        """The noise of one run of a commit at this level."""

    def of_pairs(self, pairs: Sequence[Pair]) -> Noise:
        """The noise of one run by which these pairs are tested, before they are in the record."""

    def with_step(self, runs: Sequence[float]) -> NoiseRecord:
        """After the screening runs of a new step."""

    def with_pairs(
        self, pairs: Sequence[Pair], extra: Sequence[Pair], *, at_tip: bool
    ) -> NoiseRecord:
        """After a confirmation's pairs, and those for the claim; the study goes on at its tip."""


@dataclass(frozen=True)
class PooledNoise:
    """Rule 1: all runs of the baseline and all pairs count alike, at whatever level."""

    noise: Noise
    runs: int
    how: How = "pooled"

    @classmethod
    def of(cls, runs: Sequence[float]) -> PooledNoise:
        """From runs of one commit."""
        return cls(Noise.pooled([runs]), len(runs))

    def at(self, level: float) -> Noise:  # noqa: ARG002
        """The same everywhere."""
        return self.noise

    def of_pairs(self, pairs: Sequence[Pair]) -> Noise:  # noqa: ARG002
        """The same everywhere."""
        return self.noise

    def with_step(self, runs: Sequence[float]) -> PooledNoise:  # noqa: ARG002
        """Screening runs do not count."""
        return self

    def with_pairs(
        self,
        pairs: Sequence[Pair],
        extra: Sequence[Pair],  # noqa: ARG002
        *,
        at_tip: bool,  # noqa: ARG002
    ) -> PooledNoise:
        """The differences of the pairs that decided count, over the root of 2."""
        noise = self.noise.joined([(new - old) / _ROOT2 for new, old in pairs])
        return PooledNoise(noise, self.runs + 2 * len(pairs))


@dataclass(frozen=True)
class Group:
    """Runs of one commit: their mean, their sum of squares about it, the degrees of freedom."""

    level: float
    squares: float
    df: int

    @classmethod
    def of(cls, runs: Sequence[float]) -> Group:
        """From two or more runs."""
        return cls(fmean(runs), squares(runs), len(runs) - 1)


@dataclass(frozen=True)
class LocalNoise:
    """Rule 2: the newest runs count, and older ones as long as they agree with them.

    The sd is constant, or proportional to the level where that fits all runs of the study better.
    """

    groups: tuple[Group, ...]  # the newest last
    may_scale: bool = True  # False on a log scale: there a proportional noise is constant already

    @classmethod
    def of(cls, runs: Sequence[float], *, may_scale: bool = True) -> LocalNoise:
        """From runs of one commit."""
        return cls((Group.of(runs),), may_scale)

    @property
    def how(self) -> How:
        """Relative to the level, or of recent runs; pooled when all runs of the study count."""
        if self._relative:
            return "relative"
        return "pooled" if self._counted == len(self.groups) else "recent"

    @property
    def runs(self) -> int:
        """How many runs it rests on."""
        return sum(group.df + 1 for group in self.groups[-self._counted :])

    def at(self, level: float) -> Noise:
        """The noise of one run of a commit at this level."""
        return self._noise(abs(level))

    def of_pairs(self, pairs: Sequence[Pair]) -> Noise:
        """With these pairs counted: the root mean square of the noise at both levels."""
        new, old = (fmean(side) for side in zip(*pairs, strict=True))
        return self.with_pairs(pairs, (), at_tip=True)._noise(math.hypot(new, old) / _ROOT2)

    def with_step(self, runs: Sequence[float]) -> LocalNoise:
        """After the screening runs of a new step.

        The first was selected, so they differ by a little less than two runs do (`LUCKY`).
        """
        group = Group.of(runs)
        return self._with(replace(group, squares=group.squares / LUCKY))

    def with_pairs(
        self, pairs: Sequence[Pair], extra: Sequence[Pair], *, at_tip: bool
    ) -> LocalNoise:
        """After a confirmation: the runs of each side; those where the study goes on last."""
        tip, incumbent = (Group.of(side) for side in zip(*pairs, *extra, strict=True))
        return self._with(*((incumbent, tip) if at_tip else (tip, incumbent)))

    def _with(self, *groups: Group) -> LocalNoise:
        """With newer groups; the oldest that cannot count any more are dropped."""
        known = [*self.groups, *(group for group in groups if group.df)]
        while sum(g.df for g in known[1:]) >= 2 * WINDOW and any(g.squares for g in known[1:]):
            del known[0]
        return replace(self, groups=tuple(known))

    def _noise(self, level: float) -> Noise:
        scale = level if self._relative else 1.0
        return Noise(self._recent.sd * scale, self._recent.df)

    @cached_property
    def _relative(self) -> bool:
        """Whether an sd proportional to the level fits clearly better than a constant one."""
        levels = [group.level for group in self.groups]
        if not self.may_scale or len(levels) < 2 or min(levels) <= 0 <= max(levels):
            return False
        if not all(1 / FARTHEST < abs(level) < FARTHEST for level in levels):
            return False
        df = sum(group.df for group in self.groups)
        constant = sum(group.squares for group in self.groups) / df
        relative = sum(group.squares / group.level**2 for group in self.groups) / df
        if not constant or relative > MOST_RELATIVE**2:
            return False
        spread = sum(group.df * math.log(group.level**2) for group in self.groups)
        return (df * math.log(constant) - df * math.log(relative) - spread) / 2 > FITS

    @cached_property
    def _counted(self) -> int:
        """Groups that count, from the newest backwards, until one disagrees or enough are in."""
        total, df = 0.0, 0
        for count, group in enumerate(reversed(self.groups)):
            square = self._square(group)
            enough = (
                total > 0 and df >= WINDOW
            )  # equal runs alone do not say that there is no noise
            if enough or (df and not agree(total, df, square, group.df)):
                return count
            total, df = total + square, df + group.df
        return len(self.groups)

    @cached_property
    def _recent(self) -> Noise:
        """Of the groups that count; relative to the level where `_relative`."""
        groups = self.groups[-self._counted :]
        return Noise.of(sum(map(self._square, groups)), sum(group.df for group in groups))

    def _square(self, group: Group) -> float:
        return group.squares / group.level**2 if self._relative else group.squares


def agree(one: float, df: int, other: float, more: int) -> bool:
    """Whether two sums of squares can be of one variance (Bartlett 1937); zeros never disagree."""
    if not one or not other:
        return True
    pooled = (one + other) / (df + more)
    statistic = df * math.log(pooled * df / one) + more * math.log(pooled * more / other)
    return statistic <= CUT * (1 + (1 / df + 1 / more - 1 / (df + more)) / 3)


def squares(group: Sequence[float]) -> float:
    """The sum of squares about the mean."""
    if len(group) < 2:
        return 0.0
    mean = bounded_mean(group)
    return math.fsum(min(abs(value - mean), FARTHEST) ** 2 for value in group)


def bounded_mean(group: Sequence[float]) -> float:
    """Never outside of its values, as a rounded sum may be: the mean of equals is each of them."""
    return min(max(fmean(group), min(group)), max(group))

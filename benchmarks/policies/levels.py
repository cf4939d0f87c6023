"""Tests for a confirmation of three pairs: how often each keeps a no-op, and finds a real gain.

Most of them were tried and not taken; `bar of rule 2` is the one in use, and `rule 2` is it with
the claim whose interval must exclude no gain.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from worlds import Machine, World, nothing

from autoresearch.strategies.noise import Group, LocalNoise, Noise, Pair, squares
from autoresearch.strategies.screening_test import POOLED, Rule, assess, claim, holds
from autoresearch.student_t import t_quantile

Test = Callable[["Seen", float], bool]
NOMINAL = (0.01, 0.05)
GAIN = 2.5  # sds of one run: a usual stack
NOISES = {
    "normal": World("normal", nothing),
    "a seventh far off": World("outliers", nothing, outliers=0.145),
    "one in 16 far off": World("rare outliers", nothing, outliers=0.06),
}
KNOWN = {"4 runs of a baseline": (4,), "and 10 groups of runs": (4, *[3] * 10)}
TAKEN = "bar of rule 2"
SEED = 11


@dataclass(frozen=True)
class Seen:
    """What is known when a confirmation ends: earlier groups of runs, its pairs, one more pair."""

    groups: tuple[list[float], ...]
    pairs: list[Pair]
    extra: Pair

    @property
    def differences(self) -> list[float]:
        """What the tip gains in each pair."""
        return [new - old for new, old in self.pairs]

    @property
    def record(self) -> LocalNoise:
        """What the groups say of noise."""
        return LocalNoise(tuple(map(Group.of, self.groups)))


def rule_1(seen: Seen, alpha: float) -> bool:
    """The smaller of two bars: by the study's noise, and by that of the pairs alone."""
    rule = Rule(version=1)
    return assess(seen.differences, Noise.pooled(seen.groups), rule, alpha).answer == "keep"


def own(seen: Seen, alpha: float) -> bool:
    """Student's t of the three differences alone."""
    sd = math.sqrt(squares(seen.differences) / 2)
    return sum(seen.differences) / 3 > t_quantile(alpha, 2) * sd / math.sqrt(3)


def own_if_wild(seen: Seen, alpha: float) -> bool:
    """Rule 1, and the pairs alone where their noise exceeds twice that of the study."""
    sd = math.sqrt(squares(seen.differences) / 4)
    if sd > 2 * Noise.pooled(seen.groups).sd:
        return own(seen, (1 - POOLED) * alpha)
    return rule_1(seen, alpha)


def ranks(seen: Seen, alpha: float) -> bool:
    """The exact rank sum test of the tip's runs against all of the incumbent's; no drift, then."""
    new = [pair[0] for pair in seen.pairs]
    old = [*seen.groups[0], *(pair[1] for pair in seen.pairs)]
    return _tail(len(new), len(old), sum(o < n for o in old for n in new)) <= alpha


def bar_of_rule_2(seen: Seen, alpha: float) -> bool:
    """By the larger noise of the study, these pairs included, and of these pairs alone."""
    noise = seen.record.of_pairs(seen.pairs)
    return assess(seen.differences, noise, Rule(), alpha).answer == "keep"


def rule_2(seen: Seen, alpha: float) -> bool:
    """With one more pair, and a claim whose interval excludes no gain."""
    if not bar_of_rule_2(seen, alpha):
        return False
    noise, after = (
        seen.record.of_pairs(pairs) for pairs in (seen.pairs, [*seen.pairs, seen.extra])
    )
    more = [seen.extra[0] - seen.extra[1]]
    return holds(claim(seen.differences, more, noise, Rule(), alpha, after=after), Rule())


TESTS: dict[str, Test] = {
    "rule 1": rule_1,
    "pairs alone": own,
    "rule 1, pairs alone where wild": own_if_wild,
    "ranks": ranks,
    TAKEN: bar_of_rule_2,
    "rule 2": rule_2,
}


@dataclass(frozen=True)
class Level:
    """One test in one noise: the share of no-ops kept, and of gains, at each nominal level."""

    noise: str
    known: str
    test: str
    times: int
    kept: tuple[float, ...]
    gains: tuple[float, ...]

    @property
    def title(self) -> str:
        """What was measured."""
        return f"{self.test}, {self.noise}, {self.known}"

    @property
    def above_nominal(self) -> bool:
        """Whether more no-ops are kept than a nominal level allows, beyond the luck of counting."""
        return any(
            share > alpha + 3 * math.sqrt(alpha / self.times)
            for alpha, share in zip(NOMINAL, self.kept, strict=True)
        )


def measured(times: int) -> list[Level]:
    """Every test in every noise, on the same runs."""
    return [
        Level(noise, known, name, times, *shares)
        for noise, known in itertools.product(NOISES, KNOWN)
        for name, shares in _shares(NOISES[noise], KNOWN[known], times).items()
    ]


def level_table(levels: Sequence[Level]) -> str:
    """Markdown: what each test keeps."""
    lines = [
        f"| noise | known before | test | no-ops kept at 1 % | at 5 % "
        f"| gains of {GAIN} sd found at 1 % | at 5 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for level in levels:
        shares = " | ".join(f"{share:.1%}" for share in (*level.kept, *level.gains))
        name = f"**{level.test}**" if level.test == "rule 2" else level.test
        lines.append(f"| {level.noise} | {level.known} | {name} | {shares} |")
    return "\n".join(lines)


def _shares(
    world: World, groups: Sequence[int], times: int
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    counts: Counter[tuple[str, float, float]] = Counter()
    for gain in (0.0, GAIN):
        machine = Machine(world, (SEED, len(groups)))
        for _ in range(times):
            seen = Seen(
                tuple([machine.run(0.0) for _ in range(count)] for count in groups),
                [(machine.run(gain), machine.run(0.0)) for _ in range(3)],
                (machine.run(gain), machine.run(0.0)),
            )
            for name, alpha in itertools.product(TESTS, NOMINAL):
                counts[name, gain, alpha] += TESTS[name](seen, alpha)
    return {
        name: (
            tuple(counts[name, 0.0, alpha] / times for alpha in NOMINAL),
            tuple(counts[name, GAIN, alpha] / times for alpha in NOMINAL),
        )
        for name in TESTS
    }


@cache
def _tail(new: int, old: int, wins: int) -> float:
    """The share of all orders in which the new runs win at least so often."""
    places = itertools.combinations(range(new + old), new)
    least = new * (new - 1) // 2
    counts = Counter(sum(chosen) - least for chosen in places)
    return sum(n for u, n in counts.items() if u >= wins) / math.comb(new + old, new)

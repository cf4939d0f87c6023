"""The keep rule as pure functions of numbers: screen a step, confirm a stack, state a gain.

Gains are positive when better; the caller applies the metric's direction. Nothing here knows
ledgers, commits or clocks. docs/honest-keeps.md explains the rule and what it costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Literal

from autoresearch.strategies.noise import Noise, bounded_mean, squares
from autoresearch.student_t import t_quantile

# keep: confirmed. discard: hopeless. again: one more run or pair. open: neither; go on climbing.
Answer = Literal["keep", "discard", "again", "open"]

_NORMAL = NormalDist()
POOLED = 0.8  # share of a confirmation's error for the test by the study's noise
CALM = 0.1  # least noise that pairs are believed to have, as a share of the study's noise
_FAR = 8.0  # standard deviations beyond which the normal tail is its own asymptote


@dataclass(frozen=True)
class Rule:
    """The settings of the rule; hurdles and hopeless are in sds, min_delta in the metric's unit."""

    confidence: float = 0.99  # 1 - this: false keeps that one trial may add, in expectation
    min_delta: float = 0.0  # a keep must gain more than this
    hurdles: tuple[float, ...] = (0.3, 0.5)  # a step's mean gain over the tip, after each run
    credit: float = 0.5  # least share of a step's measured gain that is believed
    luck: float = 0.8  # most sds by which a step's measured gain is believed to be too large
    steps: int = 5  # a stack of this many steps is confirmed; 1 confirms each step
    pairs: int = 3  # of a confirmation
    hopeless: float = -0.3  # a confirmation stops early below this many standard errors
    refresh: int = 20  # the tip is run again after this many trials without a step
    memory: int = 4  # runs that the tip's level remembers
    most_alpha: float = 0.25  # error that one confirmation may spend, however much is saved
    certain: float = (
        0.95  # of a claim's interval, which must hold a gain alone; in rule 1 confidence
    )
    version: int = 2  # of the rule

    def __post_init__(self) -> None:
        wrong = [name for name, right in self._allowed().items() if not right]
        if wrong:
            raise ValueError(f"rule has a setting out of range: {', '.join(wrong)}")

    def _allowed(self) -> dict[str, bool]:
        return {
            "confidence": 0.5 <= self.confidence < 1,
            "min_delta": math.isfinite(self.min_delta) and self.min_delta >= 0,
            "hurdles": bool(self.hurdles) and all(map(math.isfinite, self.hurdles)),
            "credit": 0 <= self.credit <= 1,
            "luck": math.isfinite(self.luck) and self.luck >= 0,
            "steps": self.steps >= 1,
            "pairs": self.pairs >= 2,
            "hopeless": math.isfinite(self.hopeless),
            "refresh": self.refresh >= 1,
            "memory": self.memory >= 1,
            "most_alpha": 0 < self.most_alpha <= 0.5,
        }


@dataclass(frozen=True)
class Assessment:
    """An answer, the mean gain it rests on, its two-sided interval, and the error it cost."""

    answer: Answer
    estimate: float
    low: float
    high: float
    alpha_spent: float = 0.0


@dataclass(frozen=True)
class Claim:
    """A gain to report: unbiased although it was selected, with its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Confirmation:
    """One confirmation as the error budget sees it: trials before it, steps that it would keep."""

    trials: int
    steps: int


@dataclass(frozen=True)
class Level:
    """The value that the tip is believed to have, and how many runs that belief weighs."""

    value: float
    weight: float

    @classmethod
    def of(cls, runs: Sequence[float]) -> Level:
        """The plain mean of runs that selected nothing."""
        return cls(bounded_mean(runs), len(runs))

    def seen(self, value: float, rule: Rule) -> Level:
        """After one more run of the tip; old runs fade, so that the level follows a slow drift."""
        weight = min(self.weight, rule.memory - 1) + 1
        return Level(self.value + (value - self.value) / weight, weight)

    def stepped(self, gain: float, noise: Noise, rule: Rule) -> Level:
        """Level of the new tip: a winner was also lucky, so a part of its gain is not believed."""
        believed = max(rule.credit * gain, gain - rule.luck * noise.sd)
        return Level(self.value + believed, rule.memory)


def passes_screen(gain: float, noise: Noise, rule: Rule) -> bool:
    """Whether one run with this gain over the tip's level deserves a second run."""
    return screen([gain], noise, rule).answer in ("again", "keep")


def screen(
    gains: Sequence[float], noise: Noise, rule: Rule, *, simpler: bool = False
) -> Assessment:
    """Whether a challenger becomes the tip, from all its runs less the tip's level.

    keep makes it the tip: a step, which no report may call a gain. A simpler candidate need only
    look no worse: its hurdles are half a sd lower, and min_delta does not apply.
    """
    _refuse(gains, len(rule.hurdles), "hurdles")
    mean, error = fmean(gains), noise.sd / math.sqrt(len(gains))
    hurdle = rule.hurdles[len(gains) - 1] * noise.sd
    hurdle += -0.5 * noise.sd if simpler else rule.min_delta
    low, high = _interval(mean, error, noise.df, 1 - rule.confidence)
    if mean < hurdle or (mean <= 0 and not simpler):
        return Assessment("discard", mean, low, high)
    return Assessment("again" if len(gains) < len(rule.hurdles) else "keep", mean, low, high)


def stack_due(steps: int, rule: Rule, *, open_at: int = 0) -> bool:
    """Whether to confirm a stack: it is full, or has grown by half since it was left open."""
    return steps >= stack_due_at(rule, open_at=open_at)


def stack_due_at(rule: Rule, *, open_at: int = 0) -> int:
    """Steps at which the next confirmation of a stack begins."""
    return open_at + max(1, rule.steps // 2) if open_at else rule.steps


def alpha_for(trials: int, steps: int, earlier: Iterable[Confirmation], rule: Rule) -> float:
    """The error that the next confirmation may spend: what trials have earned and none has spent.

    Each trial earns 1 - confidence; to confirm k steps at level alpha costs k * alpha, whatever
    comes of it. So the expected number of steps kept in stacks without a gain stays below
    (1 - confidence) * trials, over the whole study, however often and whenever one looks.
    """
    wealth, before = 0.0, 0
    for one in (*earlier, Confirmation(trials, steps)):
        if one.trials < before or one.steps < 1:
            raise ValueError(
                f"confirmations must be in order and of steps, not {one} after {before}"
            )
        wealth += (1 - rule.confidence) * (one.trials - before)
        alpha = min(rule.most_alpha, wealth / one.steps)
        wealth -= alpha * one.steps
        before = one.trials
    return alpha


def assess(differences: Sequence[float], noise: Noise, rule: Rule, alpha: float) -> Assessment:
    """Whether in-block differences (new less old, fresh seeds) confirm a gain above min_delta.

    It stops early only to discard, and keeps only at the last pair. open: neither confirmed nor
    hopeless; a single step is then discarded, a stack grows and is confirmed with fresh pairs.
    """
    return _test(differences, noise, rule, alpha, rule.min_delta)


def assess_simpler(
    differences: Sequence[float], noise: Noise, rule: Rule, alpha: float
) -> Assessment:
    """Whether a simplification is confirmed to be worse by at most `margin`."""
    return _test(differences, noise, rule, alpha, -margin(noise, rule))


def margin(noise: Noise, rule: Rule) -> float:
    """The loss that simpler code may cost: one sd, which a single run cannot see, or min_delta."""
    return max(rule.min_delta, noise.sd)


def earns_its_lines(gain: float, added_lines: int, noise: Noise) -> bool:
    """False for a gain below the noise of one run that makes the code longer."""
    return added_lines <= 0 or gain >= noise.sd


def claim(
    differences: Sequence[float],
    extra: Sequence[float],
    noise: Noise,
    rule: Rule,
    alpha: float,
    *,
    simpler: bool = False,
    after: Noise | None = None,
) -> Claim:
    """The gain of what is kept: `extra` are pairs that were run after the others passed the bar.

    `noise` is the one that decided, `after` that with the extra pairs (rule 2). A simplification
    (`simpler`) had the lower bar of `assess_simpler` to pass.
    """
    floor = -margin(noise, rule) if simpler else rule.min_delta
    bar = floor + _bar(differences, noise, rule, alpha)
    if rule.version == 1:
        return _claim_of_rule_1(differences, extra, noise, rule, bar)
    pairs = [*differences, *extra]
    mean, known = bounded_mean(pairs), after or noise
    half, error = _bar_and_error(pairs, known, rule, (1 - rule.certain) / 2)
    low, high = mean - half, mean + half
    before = error * math.sqrt(len(pairs) / len(differences))
    share = len(differences) / len(pairs)

    def expected(gain: float) -> float:
        """The mean of all pairs, given that they passed both bars."""
        first = share * before * _hazard((bar - gain) / before)
        return gain + max(first, error * _hazard((half - gain) / error))

    gain = _solved(expected, mean, rule.credit * mean) if error else mean
    return Claim(min(max(gain, low), high), low, high)


def holds(claim: Claim, rule: Rule, *, simpler: bool = False) -> bool:
    """Whether a claim makes a keep: its interval excludes no gain, or for simpler code no loss.

    Of simpler code the interval may include no gain; what its pairs show may not be a loss.
    """
    if rule.version == 1:
        return True
    return claim.estimate >= 0 if simpler else claim.low > 0


def _solved(expected: Callable[[float], float], seen: float, least: float) -> float:
    """The gain, at least `least`, for which as much is expected as was seen."""
    low, high = min(least, seen), seen
    if expected(low) >= seen:
        return low
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < seen else (low, middle)
    return low


def _claim_of_rule_1(
    differences: Sequence[float], extra: Sequence[float], noise: Noise, rule: Rule, bound: float
) -> Claim:
    """Given the mean of all pairs, the expected luck is that of a truncated normal.

    It is subtracted (Cohen and Sackrowitz 1989). Exact for a known sd and no early discard.
    """
    if not extra:
        raise ValueError("a claim needs at least one pair that was run after the keep")
    count, more = len(differences), len(extra)
    pooled = (math.fsum(differences) + math.fsum(extra)) / (count + more)
    error = noise.sd * math.sqrt(2 / (count + more))
    if not error:
        return Claim(pooled, pooled, pooled)
    tau = noise.sd * math.sqrt(2 * more / (count * (count + more)))
    far = (bound - pooled) / tau
    luck = _hazard(far)
    estimate = pooled - count / more * tau * luck
    # How fast the estimate moves with the pooled mean; never worse than the extra pairs alone.
    slope = 1 + count / more * luck * (luck - far)
    widest = noise.sd * math.sqrt(2 / more)
    low, high = _interval(estimate, min(error * slope, widest), noise.df, 1 - rule.confidence)
    return Claim(estimate, low, high)


def _test(
    differences: Sequence[float], noise: Noise, rule: Rule, alpha: float, floor: float
) -> Assessment:
    _refuse(differences, rule.pairs, "pairs")
    if not 0 < alpha <= 0.5:
        raise ValueError(f"alpha must be above 0 and at most 0.5, not {alpha}")
    mean, error = fmean(differences), noise.sd * math.sqrt(2 / len(differences))
    over, last = mean - floor, len(differences) == rule.pairs
    low, high = _interval(mean, error, noise.df, 2 * alpha)
    answer: Answer = "open" if last else "again"
    if over <= 0 if last else over < rule.hopeless * error:
        answer = "discard"
    elif last and over >= _bar(differences, noise, rule, alpha):
        answer = "keep"
    return Assessment(answer, mean, low, high, alpha)


def _bar(differences: Sequence[float], noise: Noise, rule: Rule, alpha: float) -> float:
    """The mean to reach: by the study's noise or by the noise of these pairs, each with its share.

    The second helps where most of the study's noise comes from a busy machine, which pairs share.
    Where the pairs scatter more than the study's runs, the first goes by their noise (rule 2).
    """
    return _bar_and_error(differences, noise, rule, alpha)[0]


def _bar_and_error(
    differences: Sequence[float], noise: Noise, rule: Rule, alpha: float
) -> tuple[float, float]:
    """The bar, and the standard error of the mean by the noise that it goes by."""
    count = len(differences)
    sd = noise.sd if rule.version == 1 else max(noise.sd, _own_sd(differences))
    pooled = t_quantile(POOLED * alpha, noise.df) * sd * math.sqrt(2 / count)
    own_sd = math.sqrt(squares(differences) / (count - 1))
    own_sd = max(own_sd, CALM * math.sqrt(2) * noise.sd)
    own = t_quantile((1 - POOLED) * alpha, count - 1) * own_sd / math.sqrt(count)
    return (pooled, sd * math.sqrt(2 / count)) if pooled <= own else (own, own_sd / count**0.5)


def _own_sd(differences: Sequence[float]) -> float:
    """The noise of one run by the differences of these pairs alone."""
    return math.sqrt(squares(differences) / (len(differences) - 1) / 2)


def _refuse(values: Sequence[float], most: int, what: str) -> None:
    if not 1 <= len(values) <= most:
        raise ValueError(f"{len(values)} values, where the rule has 1 to {most} {what}")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"values must be finite, not {list(values)}")


def _interval(mean: float, error: float, df: int, both_tails: float) -> tuple[float, float]:
    half = t_quantile(both_tails / 2, df) * error
    return mean - half, mean + half


def _hazard(far: float) -> float:
    """Mean of a standard normal, given that it exceeds `far`."""
    if far > _FAR:
        return far + 1 / far
    return _NORMAL.pdf(far) / (0.5 * math.erfc(far / math.sqrt(2)))

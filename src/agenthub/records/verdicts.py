"""When a claim is true: what the hub makes of the numbers that others measured.

With `worse` = how far the replicated mean lies on the wrong side of the claimed value (negative
when it is better), `se` = sd / sqrt(runs), and noise = how far two runs of one tree lie apart:

    tolerance     the larger of noise and 2 se, and 0.001 % of the claim, which was printed rounded
    confirmed     worse <= tolerance
    refuted       worse > 2 x tolerance, and worse > q sd sqrt(1 + 1/runs): the claim is no lucky
                  run of the same thing. q is 2 where the noise is known; else three runs are
                  needed, and q is Student's t that they exceed by chance once in a hundred times
    inconclusive  in between; or 2 se over both 3 x noise and 5 % of the claim: too wide to say

Only runs on the claim's own tier count. If a trusted runner is among the verifiers, the trusted
ones alone count; one of them suffices. Else one independent agent does. Where there are several,
nobody's runs count for more than three: who says 64 numbers does not outvote the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agenthub.student_t import t_quantile

SURE = 2.0  # standard errors
WIDE = 0.05  # of the claim
ROUNDED = 1e-5  # of the claim
FEWEST = 3  # runs that refute where the noise is not known
WRONGED = 0.01  # the chance that one such verdict refutes a claim that was one run of the same
MOST_EACH = 3  # runs that count of each of several agents whom nobody trusts


@dataclass(frozen=True)
class Runs:
    """What some runs of the exact tree gave."""

    runs: int
    mean: float
    sd: float | None  # None for a single run
    trusted: bool = False


@dataclass(frozen=True)
class Judgement:
    """What counts, taken together, and what it says."""

    verdict: str
    runs: int
    mean: float | None
    sd: float | None


def measured(values: Sequence[float], trusted: bool = False) -> Runs:
    """Number, mean and standard deviation of some values."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Runs(1, mean, None, trusted)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Runs(len(values), mean, math.sqrt(squares / (len(values) - 1)), trusted)


def pooled(parts: Sequence[Runs]) -> Runs:
    """Several verifiers' runs as if they were one's."""
    runs = sum(part.runs for part in parts)
    mean = math.fsum(part.runs * part.mean for part in parts) / runs
    if runs == 1:
        return Runs(1, mean, None)
    within = math.fsum((part.runs - 1) * (part.sd or 0.0) ** 2 for part in parts)
    between = math.fsum(part.runs * (part.mean - mean) ** 2 for part in parts)
    return Runs(runs, mean, math.sqrt((within + between) / (runs - 1)))


def judge(claim: float, direction: str, parts: Sequence[Runs], noise: float) -> Judgement:
    """The verdict on a claim; `claimed` when nobody's runs count yet."""
    counting = [part for part in parts if part.trusted] or _levelled(parts)
    if not counting:
        return Judgement("claimed", 0, None, None)
    found = pooled(counting)
    worse = found.mean - claim if direction == "lower" else claim - found.mean
    return Judgement(_verdict(worse, claim, found, noise), found.runs, found.mean, found.sd)


def _levelled(parts: Sequence[Runs]) -> list[Runs]:
    if len(parts) < 2:
        return list(parts)
    return [replace(part, runs=min(part.runs, MOST_EACH)) for part in parts]


def _verdict(worse: float, claim: float, found: Runs, noise: float) -> str:
    spread = 0.0 if found.sd is None else SURE * found.sd / math.sqrt(found.runs)
    if spread > max(3 * noise, WIDE * abs(claim)):
        return "inconclusive"
    tolerance = max(noise, spread) + ROUNDED * abs(claim)
    if worse <= tolerance:
        return "confirmed"
    if worse <= max(2 * tolerance, _luck(found, noise > 0)):
        return "inconclusive"
    return "refuted" if noise > 0 or found.runs >= FEWEST else "inconclusive"


def _luck(found: Runs, known: bool) -> float:
    """How far a single run of the same thing may lie from these runs' mean."""
    if not found.sd:
        return 0.0
    far = SURE if known else t_quantile(WRONGED, found.runs - 1)
    return far * found.sd * math.sqrt(1 + 1 / found.runs)

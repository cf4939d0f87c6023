"""The hub's verdict on a claimed value, from the runs of other agents; and the noise of a tier.

`worse` is how far the replicated mean is on the wrong side of the claimed value (negative if it is
better), `se` = sd / sqrt(runs), and noise is how far two runs of one tree differ:

    tolerance     the larger of noise and 2 se, and 0.001 % of the claim, which was printed rounded
    confirmed     worse <= tolerance
    refuted       worse > 2 x tolerance, and worse > q sd sqrt(1 + 1/runs): the claim cannot be a
                  lucky run of the same tree. q is 2 where the noise is known; else three runs are
                  needed, and q is the Student's t that chance exceeds once in a hundred times
    inconclusive  in between; or 2 se is over both 3 x noise and 5 % of the claim: too wide

Only runs on the claim's own tier count. If trusted runners are among the verifiers, only theirs
count, and one runner suffices. Else one independent agent suffices. With several such agents, the
runs of each count for three at most: an agent that sends 64 numbers does not outvote the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from agenthub.records.database import Database
from agenthub.student_t import t_quantile

SURE = 2.0  # standard errors
WIDE = 0.05  # of the claim
ROUNDED = 1e-5  # of the claim
FEWEST = 3  # runs that may refute while the noise is unknown
WRONGED = 0.01  # chance of such a verdict on an honest claim of one run
KNOWN = 10  # degrees of freedom from which on the noise counts as known
MOST_EACH = 3  # runs that count of each, of several untrusted agents


# ---- the verdict -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """Runs of the exact tree, summarised."""

    runs: int
    mean: float
    sd: float | None  # None for a single run
    trusted: bool = False


@dataclass(frozen=True)
class Verdict:
    """The verdict, and the runs that count, pooled."""

    word: str  # claimed, confirmed, refuted, inconclusive
    runs: int
    mean: float | None
    sd: float | None


def runs_of(values: Sequence[float], trusted: bool = False) -> Runs:
    """Summarise values, one per run."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Runs(1, mean, None, trusted)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Runs(len(values), mean, math.sqrt(squares / (len(values) - 1)), trusted)


def pooled(parts: Sequence[Runs]) -> Runs:
    """Pool several verifiers' runs into one."""
    runs = sum(part.runs for part in parts)
    mean = math.fsum(part.runs * part.mean for part in parts) / runs
    if runs == 1:
        return Runs(1, mean, None)
    within = math.fsum((part.runs - 1) * (part.sd or 0.0) ** 2 for part in parts)
    between = math.fsum(part.runs * (part.mean - mean) ** 2 for part in parts)
    return Runs(runs, mean, math.sqrt((within + between) / (runs - 1)))


def verdict_on(claim: float, direction: str, parts: Sequence[Runs], noise: float) -> Verdict:
    """The verdict on a claimed value; `claimed` while no runs count."""
    counting = [part for part in parts if part.trusted] or _levelled(parts)
    if not counting:
        return Verdict("claimed", 0, None, None)
    found = pooled(counting)
    worse = found.mean - claim if direction == "lower" else claim - found.mean
    return Verdict(_word(worse, claim, found, noise), found.runs, found.mean, found.sd)


def _levelled(parts: Sequence[Runs]) -> list[Runs]:
    if len(parts) < 2:
        return list(parts)
    return [replace(part, runs=min(part.runs, MOST_EACH)) for part in parts]


def _word(worse: float, claim: float, found: Runs, noise: float) -> str:
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
    """How far a single run of the same tree may be from these runs' mean by chance."""
    if not found.sd:
        return 0.0
    far = SURE if known else t_quantile(WRONGED, found.runs - 1)
    return far * found.sd * math.sqrt(1 + 1 / found.runs)


# ---- the noise: how far two runs of one tree differ, estimated from trusted runners ------------


@dataclass(frozen=True)
class Spread:
    """The spread of some runs about their means: degrees of freedom, and the sum of squares."""

    free: int
    squares: float

    def without(self, other: Spread) -> Spread:
        """The spread without some of the runs."""
        return Spread(self.free - other.free, max(0.0, self.squares - other.squares))


@dataclass(frozen=True)
class Noise:
    """The spread of each result's runs, and of all runs on one agent's results."""

    results: Mapping[int, tuple[str, Spread]]  # the agent of each, too
    agents: Mapping[str, Spread]

    def of(self, result: int, value: float) -> float:
        """The noise for a verdict on a claim; 0 (unknown) when it is over 5 % of the claim."""
        found = self.besides(result)
        return found if found <= WIDE * abs(value) else 0.0

    def besides(self, result: int) -> float:
        """Two standard deviations of a run, from all results but one; 0 with too few runs."""
        left = dict(self.agents)
        if result in self.results:
            agent, own = self.results[result]
            left[agent] = left[agent].without(own)
        known = [spread for spread in left.values() if spread.free > 0]
        if sum(spread.free for spread in known) < KNOWN:
            return 0.0
        return SURE * median(math.sqrt(spread.squares / spread.free) for spread in known)


def measured_noise(database: Database, project: int, tier: str) -> Noise:
    """The noise of a project on a tier; verifications whose runs spread over 5 % are left out."""
    results, agents = {}, dict[str, Spread]()
    for row in database.rows(
        "SELECT r.seq, r.agent, sum(v.runs - 1) AS free, "
        "sum((v.runs - 1) * v.sd * v.sd) AS squares "
        "FROM verifications v JOIN results r ON r.seq = v.result "
        "JOIN agents a ON a.id = v.verifier WHERE r.project = ? "
        "AND v.tier = ? AND a.runner = 1 AND v.runs > 1 AND v.sd <= ? * abs(v.mean) GROUP BY r.seq",
        *(project, tier, WIDE),
    ):
        agent, spread = row["agent"], Spread(row["free"], row["squares"])
        before = agents.get(agent, Spread(0, 0.0))
        results[row["seq"]] = (agent, spread)
        agents[agent] = Spread(before.free + spread.free, before.squares + spread.squares)
    return Noise(results, agents)

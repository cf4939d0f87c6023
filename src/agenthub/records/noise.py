"""Estimate a tier's noise from trusted runners: how far two runs of one tree differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from agenthub.records.database import Database
from agenthub.records.verdicts import SURE, WIDE

FEWEST = 10  # degrees of freedom from which on the noise counts as known


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
        if sum(spread.free for spread in known) < FEWEST:
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

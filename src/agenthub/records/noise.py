"""How far two runs of one tree lie apart on a tier: what the trusted runners' runs have shown."""

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
    """Of some runs about their means: degrees of freedom, and the sum of squares."""

    free: int
    squares: float

    def without(self, other: Spread) -> Spread:
        """What is left when some of the runs are taken out."""
        return Spread(self.free - other.free, max(0.0, self.squares - other.squares))


@dataclass(frozen=True)
class Noise:
    """The spread of each result, and of all results of one agent taken together."""

    results: Mapping[int, tuple[str, Spread]]  # with whose they are
    agents: Mapping[str, Spread]

    def of(self, result: int, value: float) -> float:
        """What a claim is judged by; 0 where it would be more than the claim can bear."""
        found = self.besides(result)
        return found if found <= WIDE * abs(value) else 0.0

    def besides(self, result: int) -> float:
        """Two standard deviations of a run, by all results but one; 0 when too little is known."""
        left = dict(self.agents)
        if result in self.results:
            agent, own = self.results[result]
            left[agent] = left[agent].without(own)
        known = [spread for spread in left.values() if spread.free > 0]
        if sum(spread.free for spread in known) < FEWEST:
            return 0.0
        return SURE * median(math.sqrt(spread.squares / spread.free) for spread in known)


def seen(database: Database, project: int, tier: str) -> Noise:
    """The noise of a project on a tier, without what no measure is: runs too far apart."""
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

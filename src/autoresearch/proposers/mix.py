"""Mix: several proposers by weight (--agent mix:offline=0.7,llm=0.3)."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from autoresearch.proposers import Brief, Proposal, Proposer
from autoresearch.proposers.team import Team, TeamDelegate


class Mix(TeamDelegate):
    """Draws who proposes, by weight, from the seed and the number of the trial.

    Who cannot go on is replaced by the next drawn. After a trial that never became a commit the
    number is the same again; then the draw is another. Its name is that of who spoke last.
    """

    _label = "mix"

    def __init__(
        self,
        members: Iterable[tuple[str, Proposer, float]],
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = list(members)
        self._weights = [weight for _, _, weight in given]
        self._team = Team([(label, proposer) for label, proposer, _ in given], clock)
        self._seed = seed
        self._number, self._again = -1, 0

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """The edit of the one that is drawn, or of the next that can."""
        number = brief.number
        self._again = self._again + 1 if number == self._number else 0
        self._number = number
        order = drawn(self._weights, f"{self._seed}:{number}:{self._again}")
        return self._team.propose(order, workspace, brief)


def drawn(weights: Sequence[float], seed: str) -> list[int]:
    """All positions in an order drawn by weight; equal seeds draw alike, on every machine."""
    draw = random.Random(seed)
    waits = [-math.log(1.0 - draw.random()) / weight for weight in weights]
    return sorted(range(len(weights)), key=waits.__getitem__)

"""The loop: step after step, until a limit of the study is reached or nothing is left to try."""

from __future__ import annotations

import time
from dataclasses import dataclass

from autoresearch.errors import ProposerError
from autoresearch.proposers import Proposer
from autoresearch.study import Study


@dataclass(frozen=True)
class Limits:
    """What a session of the loop may use. Nothing set means: until stopped."""

    trials: int | None = None  # experiments, the baseline not counted
    until: float | None = None  # wall-clock time, seconds since the epoch

    def reached(self, done: int) -> str | None:
        """Which limit ends the session, or None."""
        if self.trials is not None and done >= self.trials:
            return f"{done} of {self.trials} trials are done"
        if self.until is not None and time.time() >= self.until:
            return "the time is up"
        return None


def research(study: Study, proposer: Proposer, limits: Limits) -> str:
    """Run trials until a limit is reached; returns why it stopped. Ctrl-C is the other way out."""
    done = 0
    if study.ledger.best() is None:
        study.baseline()
    while (why := limits.reached(done)) is None:
        try:
            study.step(proposer)
        except ProposerError as error:
            if done == 0:
                raise
            return str(error)
        done += 1
    return why

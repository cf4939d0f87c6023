"""What to do when no proposal comes: wait, begin anew, let another one try, or stop."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autoresearch.proposers import ProposalFailed, Proposer, Renewable, Yielding

LONGEST = 24 * 3600.0  # seconds of any one wait, whatever the other side asks for


@dataclass(frozen=True)
class Advice:
    """What to do now."""

    wait: float = 0.0  # seconds
    renew: bool = False  # another session, another beginning
    rotate: bool = False  # the next proposer, where there are several
    stop: bool = False  # only a person can mend it


@dataclass
class RetryPolicy:
    """Keeps a night going over proposals that come to nothing; made for one session of the loop.

    busy      waits, ever longer, at random within the limit; never less than was asked for
    stop      ends it
    refusal   begins anew at once, and counts as the others do
    others    count, and so does a proposal that brings nothing to run; the `renew`-th in a row
              begins anew, each `rotate`-th lets the next proposer try; where there is none, the
              `pause`-th and each after it pauses, ever longer
    """

    first: float = 5.0  # seconds that the first wait takes at most; doubles up to `longest`
    longest: float = 1800.0
    renew: int = 3
    rotate: int = 6
    pause: int = 12
    pause_first: float = 600.0  # seconds of the first pause; doubles up to `pause_longest`
    pause_longest: float = 7200.0
    chance: Callable[[float, float], float] = random.uniform
    _busy: int = field(default=0, init=False)
    _empty: int = field(default=0, init=False)

    def after(self, failed: ProposalFailed) -> Advice:
        """What helps against this failure, coming after those before it."""
        if failed.kind == "stop":
            return Advice(stop=True)
        if failed.kind == "busy":
            self._busy += 1
            return Advice(max(0.0, self._backoff(failed.retry_after or 0.0) - failed.ago))
        advice = self._counted()
        wait = max(0.0, advice.wait - failed.ago)
        return replace(advice, wait=wait, renew=advice.renew or failed.kind == "refusal")

    def repeated(self) -> Advice:
        """What helps against a proposal that came and brought nothing to run: tried before, say."""
        self._busy = 0
        return self._counted()

    def follow(self, advice: Advice, proposer: Proposer) -> tuple[str, float]:
        """Do what was advised with a proposer, as far as it can: in words, and what to wait.

        Another one that takes over is not waited for, and its failures are counted anew.
        """
        if advice.rotate and isinstance(proposer, Yielding) and (other := proposer.rotate()):
            self._empty = 0
            return f"{other} goes on", 0.0
        renewed = advice.renew and isinstance(proposer, Renewable) and proposer.renew()
        return "it begins anew" if renewed else "", advice.wait

    def forget(self) -> None:
        """A proposal came, and was run."""
        self._busy = self._empty = 0

    @property
    def in_a_row(self) -> int:
        """Proposals that brought nothing, since the last that was run."""
        return self._empty

    def _counted(self) -> Advice:
        """One more that brought nothing."""
        self._empty += 1
        over = self._empty - self.pause
        wait = (
            min(self.pause_first * 2.0 ** min(over, 60), self.pause_longest) if over >= 0 else 0.0
        )
        renew, rotate = self._empty % self.renew == 0, self._empty % self.rotate == 0
        return Advice(wait, renew=renew, rotate=rotate)

    def _backoff(self, asked: float) -> float:
        """At random up to a limit that doubles: many who wait must not come back together."""
        limit = min(self.first * 2.0 ** min(self._busy - 1, 60), self.longest)
        return min(asked + self.chance(0.0, limit), LONGEST)

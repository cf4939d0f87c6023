"""What to do when a proposer gives no proposal: wait, start over, switch to another, or stop."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autoresearch.proposers import ProposalFailed, Proposer, Renewable, Rotating

LONGEST = 24 * 3600.0  # seconds of one wait at most, whatever a server requests


@dataclass(frozen=True)
class Advice:
    """What the loop should do now."""

    wait: float = 0.0  # seconds
    renew: bool = False  # start a new session
    rotate: bool = False  # the next proposer, where there are several
    stop: bool = False  # only a person can fix it


@dataclass
class RetryPolicy:
    """Keeps a study going when proposals fail; one object per session of the loop.

    busy      wait, longer each time, at random within a limit, never less than was requested
    stop      end the session
    refusal   renew the proposer at once, and count the failure like the others
    others    count, and so does a proposal that cannot be run. Each `renew`-th in a row renews
              the proposer, each `rotate`-th switches to the next one; where there is none, the
              `pause`-th and each after it pauses, longer each time
    """

    first: float = 5.0  # seconds of the first wait at most; doubles up to `longest`
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
        """What to do after this failure and those before it."""
        if failed.kind == "stop":
            return Advice(stop=True)
        if failed.kind == "busy":
            self._busy += 1
            return Advice(max(0.0, self._backoff(failed.retry_after or 0.0) - failed.ago))
        advice = self._count_failure()
        wait = max(0.0, advice.wait - failed.ago)
        return replace(advice, wait=wait, renew=advice.renew or failed.kind == "refusal")

    def repeated(self) -> Advice:
        """What to do after a proposal that cannot be run, such as one that was tried before."""
        self._busy = 0
        return self._count_failure()

    def follow(self, advice: Advice, proposer: Proposer) -> tuple[str, float]:
        """Apply an advice to a proposer, as far as it can.

        Returns what was done, in words, and the seconds to wait. After a switch to another
        proposer there is no wait, and failures are counted from zero.
        """
        if advice.rotate and isinstance(proposer, Rotating) and (other := proposer.rotate()):
            self._empty = 0
            return f"{other} goes on", 0.0
        renewed = advice.renew and isinstance(proposer, Renewable) and proposer.renew()
        return "it begins again" if renewed else "", advice.wait

    def forget(self) -> None:
        """Reset the counts: a proposal was run."""
        self._busy = self._empty = 0

    @property
    def in_a_row(self) -> int:
        """Failures since the last proposal that was run."""
        return self._empty

    def _count_failure(self) -> Advice:
        self._empty += 1
        over = self._empty - self.pause
        wait = (
            min(self.pause_first * 2.0 ** min(over, 60), self.pause_longest) if over >= 0 else 0.0
        )
        renew, rotate = self._empty % self.renew == 0, self._empty % self.rotate == 0
        return Advice(wait, renew=renew, rotate=rotate)

    def _backoff(self, requested: float) -> float:
        """Seconds, random up to a limit that doubles: many clients must not retry together."""
        limit = min(self.first * 2.0 ** min(self._busy - 1, 60), self.longest)
        return min(requested + self.chance(0.0, limit), LONGEST)

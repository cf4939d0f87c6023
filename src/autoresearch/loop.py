"""The loop: step after step, until a limit of the study is reached or nothing is left to try."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from autoresearch.errors import (
    BranchMoved,
    ExecutorError,
    GitError,
    LedgerError,
    NoRoom,
    ProposerError,
)
from autoresearch.ledger import Spend
from autoresearch.persistence import Persistence, follow
from autoresearch.proposers import ProposalFailed, Proposer
from autoresearch.strategies import PROVER
from autoresearch.study import Study


@dataclass(frozen=True)
class Limits:
    """What a session of the loop may use. Nothing set means: until stopped."""

    trials: int | None = None  # experiments, the baseline not counted
    until: float | None = None  # wall-clock time, seconds since the epoch
    usd: float | None = None  # that the study's proposals may have cost, in all its sessions
    tokens: int | None = None  # likewise
    target: float | None = None  # of the metric: reached, the study is done

    def reached(self, done: int, reserved: float = 0.0) -> str | None:
        """Which limit ends the session, or None; `reserved` seconds are needed for its close."""
        if self.trials is not None and done >= self.trials:
            return f"{done} of {self.trials} trials are done"
        if self.until is not None and time.time() + reserved >= self.until:
            return "the time is up"
        return None

    def spent(self, study: Study) -> str | None:
        """Which limit of the study itself is reached, or None."""
        usd, tokens = study.ledger.spent()
        if self.usd is not None and usd >= self.usd:
            return f"${usd:.2f} of ${self.usd:.2f} are spent"
        if self.tokens is not None and tokens >= self.tokens:
            return f"{tokens:,} of {self.tokens:,} tokens are spent"
        best, metric = study.ledger.best(), study.task.metric
        if self.target is None or best is None or best.value is None:
            return None
        if best.value == self.target or metric.better(best.value, self.target):
            return f"{metric.name} {best.value:.6f} reaches the target {self.target:g}"
        return None


@dataclass
class Patience:
    """How long to wait when our own side fails: at once, and from the fifth time on ever longer."""

    quick: int = 4  # times that are tried again at once
    first: float = 60.0  # seconds of the first pause; doubles up to `longest`
    longest: float = 3600.0
    _same: int = field(default=0, init=False)
    _last: str = field(default="", init=False)

    def after(self, error: Exception) -> float:
        """Seconds to wait now, after this error."""
        kind = f"{type(error).__name__}: {error}"
        self._same = self._same + 1 if kind == self._last else 1
        self._last = kind
        extra = self._same - self.quick - 1
        return 0.0 if extra < 0 else min(self.first * 2.0**extra, self.longest)

    def forget(self) -> None:
        """Something went well."""
        self._same, self._last = 0, ""


def research(
    study: Study,
    proposer: Proposer,
    limits: Limits,
    *,
    patience: Patience | None = None,
    persistence: Persistence | None = None,
    on_note: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Run trials until a limit is reached; returns why it stopped. Ctrl-C is the other way out.

    Trouble of our own side (a full disk, a locked file, a GPU that is not free) is waited out,
    once a trial has shown that the lab works; what time does not mend is raised. A proposal that
    fails is answered as `persistence` says.
    """
    patience, persistence = patience or Patience(), persistence or Persistence()
    _resume(study, on_note)
    if study.ledger.best() is None:
        study.baseline()
    done = 0
    while (why := _reached(study, limits, done)) is None:
        try:
            trial = study.recover() or study.step(proposer)  # the interrupted before the new
            done += trial.proposer != PROVER
            patience.forget()
            persistence.forget()
            study.reserve.hold()
        except ProposalFailed as failed:
            study.ledger.spend(_cost(failed, proposer.name))
            if not _persist(persistence, failed, proposer, limits, on_note, sleep):
                if done == 0:
                    raise
                why = str(failed)
                break
        except ProposerError as error:
            if study.close() is None and done == 0:
                raise
            return str(error)
        except (ExecutorError, GitError, LedgerError, NoRoom, OSError) as error:
            if done == 0 or isinstance(error, BranchMoved):
                raise
            _wait_out(study, error, patience.after(error), limits, on_note, sleep)
    study.close()
    return why


def _reached(study: Study, limits: Limits, done: int) -> str | None:
    return limits.reached(done, study.closing_seconds()) or limits.spent(study)


def _cost(failed: ProposalFailed, by: str) -> Spend:
    """What a proposal cost that came to nothing."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Spend(now, by, failed.cost_usd, failed.tokens, None, failed.kind)


def _persist(
    persistence: Persistence,
    failed: ProposalFailed,
    proposer: Proposer,
    limits: Limits,
    on_note: Callable[[str], None],
    sleep: Callable[[float], None],
) -> bool:
    """Say what failed, do what helps, and wait; whether to go on."""
    advice = persistence.after(failed)
    if advice.stop:
        return False
    done = follow(advice, proposer)
    seconds = _until(limits, advice.wait)
    again = f"trying again in {seconds:.0f} s" if seconds else "trying again"
    on_note(f"No proposal ({failed.kind}): {failed}. {done + '; ' if done else ''}{again}.")
    if seconds:
        sleep(seconds)
    return True


def _until(limits: Limits, seconds: float) -> float:
    """A wait that does not go beyond the session's end."""
    if limits.until is None:
        return seconds
    return min(seconds, max(0.0, limits.until - time.time()))


def _resume(study: Study, on_note: Callable[[str], None]) -> None:
    """Finish what an earlier process left, and say so in one line."""
    left = study.ledger.unfinished()
    if left is None:
        return
    on_note(f"An earlier run left trial {left.number} {left.state}; going on from there.")
    study.recover()


def _wait_out(
    study: Study,
    error: Exception,
    seconds: float,
    limits: Limits,
    on_note: Callable[[str], None],
    sleep: Callable[[float], None],
) -> None:
    """Say what is wrong, free the reserve for what the ledger must still write, and wait."""
    freed = " The reserve was freed." if study.reserve.give_up() else ""
    seconds = _until(limits, seconds)
    again = f"trying again in {seconds:.0f} s" if seconds else "trying again"
    on_note(f"{error}{freed} Paused: {again}.")
    sleep(seconds)

"""The loop: step after step, until a limit of the study is reached or nothing is left to try."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from autoresearch.errors import (
    BranchMoved,
    EndAsked,
    ExecutorError,
    GitError,
    LedgerError,
    NoRoom,
    ProposerError,
)
from autoresearch.proposers import ProposalFailed, Proposer, takes_time
from autoresearch.proposers import max_seconds as patience_of
from autoresearch.proposers.retry_policy import Advice, RetryPolicy
from autoresearch.store.artefacts import read_details
from autoresearch.store.ledger import Spend, Trial
from autoresearch.strategies import PROVER
from autoresearch.study.study import Study

AT_ONCE = 5.0  # seconds that an agent which is to be killed is waited for, when we are in a hurry
BETWEEN = 4  # runs that may be made between two trials
LOOK = 1.0  # seconds between two looks at whether a person wants something


@dataclass(frozen=True)
class StopLimits:
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
    limits: StopLimits,
    *,
    ahead: bool = True,
    max_seconds: Patience | None = None,
    persistence: RetryPolicy | None = None,
    on_note: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], object] = time.sleep,
    between: Callable[[], None] = lambda: None,
) -> str:
    """Run trials until a limit is reached; returns why it stopped.

    Trouble of our own side (a full disk, a locked file, a GPU that is not free) is waited out,
    once a trial has shown that the lab works; what time does not mend is raised. A proposal that
    fails is answered as `persistence` says. With `ahead`, the proposals of a proposer that takes
    its time are begun while the trial before them runs. `between` is called before each new trial.
    `study.ending` ends it after the run under way, KeyboardInterrupt at once. Both leave a study
    that goes on.
    """
    session = Session(
        study, proposer, limits, ahead, max_seconds or Patience(), persistence or RetryPolicy(),
        on_note, sleep, between,
    )  # fmt: skip
    try:
        why = session.run()
    except EndAsked as asked:
        why = str(asked)
    except BaseException:
        study.workspaces.drop(within=AT_ONCE)
        raise
    study.workspaces.drop()
    return why


@dataclass
class Session:
    """One session of the loop: who proposes, until when, and what helps against trouble."""

    study: Study
    proposer: Proposer
    limits: StopLimits
    ahead: bool
    max_seconds: Patience
    persistence: RetryPolicy
    note: Callable[[str], None]
    sleep: Callable[[float], object]
    between: Callable[[], None]
    done: int = 0  # experiments of this session
    missing: set[str] = field(default_factory=set)  # who cannot propose, as was said
    unpriced: set[str] = field(default_factory=set)  # who told no dollars, as was said

    def run(self) -> str:
        """Step after step; why it is over."""
        self._resume()
        if self.study.ledger.best() is None:
            self.study.baseline()
        while (why := self._over()) is None:
            try:
                self._step()
            except ProposalFailed as failed:
                self.study.ledger.spend(_cost(failed, self.proposer.name))
                if not self._persist(failed):
                    if self.done == 0:
                        raise
                    why = str(failed)
                    break
            except ProposerError as error:
                if self.study.close() is None and self.done == 0:
                    raise
                return str(error)
            except (ExecutorError, GitError, LedgerError, NoRoom, OSError) as error:
                if self.done == 0 or isinstance(error, BranchMoved):
                    raise
                self._wait_out(error)
        self.study.close()
        return why

    def _step(self) -> None:
        """The interrupted trial before a new one."""
        trial = self.study.recover() or self._next()
        self.done += trial.proposer != PROVER
        self.max_seconds.forget()
        self.study.reserve.hold()
        self._tell_missing(trial)
        self._tell_unpriced(trial)
        if not trial.is_skipped:
            self.persistence.forget()
        elif takes_time(self.proposer) and not trial.is_foreign:  # a sampler may try at its leisure
            self._insist(trial)

    def _tell_missing(self, trial: Trial) -> None:
        """Say once of each proposer of a list or a mix that others go on without it, and why."""
        for who, why in read_details(self.study.paths.trial(trial.number)).items():
            if who.startswith("without ") and who not in self.missing:
                self.missing.add(who)
                self.note(f"Goes on {who}: {why.rstrip('.')}.")

    def _tell_unpriced(self, trial: Trial) -> None:
        """Say once that a limit in dollars does not bind who tells none."""
        if self.limits.usd is None or trial.cost_usd or trial.proposer in self.unpriced:
            return
        if any(s.trial == trial.number and s.tokens for s in self.study.ledger.spends()):
            self.unpriced.add(trial.proposer)
            self.note(
                f"{trial.proposer} tells tokens and no dollars: --max-usd does not end it, "
                "--max-tokens does. For an agent, usd_per_million in agents.toml gives its tokens "
                "a price."
            )

    def _next(self) -> Trial:
        """A new trial; before it what is done between trials, unless the session ends soon."""
        beside = self.study.closing_seconds() + BETWEEN * self.study.usual_seconds()
        if self._reached(self.done, beside) is None:
            self.between()
            self._heed()
        return self.study.step(self.proposer, self._looks_ahead)

    def _over(self) -> str | None:
        """Why the session is over, or None; a person may have paused it meanwhile."""
        self._heed()
        return self._reached(self.done, self.study.closing_seconds())

    def _heed(self) -> None:
        """Wait while a person wants a pause; EndAsked when they want an end."""
        self._pause()
        if self.study.ending:
            raise EndAsked("stopped by Ctrl-C; run again to go on")

    def _reached(self, done: int, reserved: float) -> str | None:
        return self.limits.reached(done, reserved) or self.limits.spent(self.study)

    def _looks_ahead(self) -> bool:
        """Whether another proposal is worth beginning while a trial runs."""
        if not self.ahead or not patience_of(self.proposer):
            return False
        reserved = self.study.closing_seconds() + self.study.usual_seconds()
        return self._reached(self.done + 1, reserved) is None

    def _resume(self) -> None:
        """Finish what an earlier process left, and say so in one line."""
        left = self.study.ledger.unfinished()
        if left is not None:
            self.note(f"An earlier run left trial {left.number} {left.state}; going on from there.")
            self.study.recover()

    def _pause(self) -> None:
        """Wait while a person wants it, or until the session's time is over."""
        if not self.study.paused:
            return
        self.note("Paused. `autoresearch resume` goes on.")
        self.study.begin_pause()
        while self.study.paused and not self.study.ending and not self.limits.reached(self.done):
            self.sleep(LOOK)
        if not self.study.paused:
            self.note("Resumed.")

    def _persist(self, failed: ProposalFailed) -> bool:
        """Say what failed, do what helps, and wait; whether to go on."""
        advice = self.persistence.after(failed)
        if advice.stop:
            return False
        hidden = failed.kind == "refusal" and self.study.workspaces.withhold()
        log = "the last crash's log is left out" if hidden else ""
        self._follow(advice, f"No proposal ({failed.kind}): {str(failed).rstrip('.')}", log)
        return True

    def _insist(self, trial: Trial) -> None:
        """An agent that brings nothing to run, again and again, spends as much as one that does."""
        advice = self.persistence.repeated()
        if advice != Advice():
            many = self.persistence.in_a_row
            self._follow(advice, f"{many} proposals in a row brought no run ({trial.reason})")

    def _follow(self, advice: Advice, what: str, also: str = "") -> None:
        """Do what helps, say so, and wait."""
        if self._reached(self.done, 0.0) is not None:  # no proposal follows that it could help
            self.note(f"{what}.")
            return
        done, seconds = self.persistence.follow(advice, self.proposer)
        seconds = _until(self.limits, seconds)
        self.note(f"{what}; {'; '.join(filter(None, (done, also, _again(seconds))))}.")
        if seconds:
            self._wait(seconds)

    def _wait_out(self, error: Exception) -> None:
        """Say what is wrong, free the reserve for what the ledger must still write, and wait."""
        seconds = _until(self.limits, self.max_seconds.after(error))
        freed = " The reserve was freed." if self.study.reserve.give_up() else ""
        self.note(f"{error}{freed} Paused: {_again(seconds)}.")
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        """Let time pass, in pieces when it is the real one: an end may be asked for."""
        if seconds:
            with contextlib.suppress(OSError, LedgerError):  # it may be what is waited out
                self.study.begin_wait(seconds)
        if self.sleep is not time.sleep:
            self.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while not self.study.ending and (left := end - time.monotonic()) > 0:
            time.sleep(min(LOOK, left))


def _cost(failed: ProposalFailed, by: str) -> Spend:
    """What a proposal cost that came to nothing."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Spend(now, by, failed.cost_usd, failed.tokens, None, failed.kind)


def _again(seconds: float) -> str:
    return f"trying again in {seconds:.0f} s" if seconds else "trying again"


def _until(limits: StopLimits, seconds: float) -> float:
    """A wait that does not go beyond the session's end."""
    if limits.until is None:
        return seconds
    return min(seconds, max(0.0, limits.until - time.time()))

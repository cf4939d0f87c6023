"""The loop: trial after trial, until a limit is reached or the proposer has nothing left."""

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
from autoresearch.proposers import ProposalFailed, Proposer, max_seconds, takes_time
from autoresearch.proposers.retry_policy import Advice, RetryPolicy
from autoresearch.store.artefacts import read_details
from autoresearch.store.ledger import UNSTATED, Spend, Trial
from autoresearch.store.pause import read_pause
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.summary import notation
from autoresearch.study.canary import Canary
from autoresearch.study.study import COPIED, Study

AT_ONCE = 5.0  # grace period of a cancelled proposal after an error or an interrupt, in seconds
BETWEEN = 4  # runs that `between` may make
LOOK = 1.0  # seconds between two checks for a pause or an end


@dataclass(frozen=True)
class StopLimits:
    """Limits of one session; without any it runs until stopped."""

    trials: int | None = None  # experiments, the baseline not counted
    until: float | None = None  # wall-clock time, seconds since the epoch
    usd: float | None = None  # cost of the study's proposals, in all its sessions
    tokens: int | None = None  # of the study's proposals, in all its sessions
    target: float | None = None  # value of the metric at which the study is done

    def reached(self, done: int, reserved: float = 0.0) -> str | None:
        """The limit that ends the session, or None; `reserved` are the seconds to finish it."""
        if self.trials is not None and done >= self.trials:
            return f"{done} of {self.trials} trials are done"
        if self.until is not None and time.time() + reserved >= self.until:
            return "the time is up"
        return None

    def spent(self, study: Study) -> str | None:
        """The limit of the study itself that is reached, or None."""
        usd, tokens = study.ledger.spent()
        if self.usd is not None and usd >= self.usd:
            unstated = study.ledger.unstated()
            how = f" (${unstated:.2f} of it not told: limits of sessions)" if unstated else ""
            return f"${usd:.2f} of ${self.usd:.2f} are spent{how}"
        if self.tokens is not None and tokens >= self.tokens:
            return f"{tokens:,} of {self.tokens:,} tokens are spent"
        best, metric = study.ledger.best(), study.task.metric
        if self.target is None or best is None or best.value is None:
            return None
        if best.value == self.target or metric.better(best.value, self.target):
            value = notation(study.ledger).value(best.value)
            return f"{metric.name} {value} reaches the target {self.target:g}"
        return None


@dataclass
class TroublePauses:
    """Pauses after errors of the machine: none at first, then ever longer ones."""

    quick: int = 4  # equal errors in a row without a pause
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
        """A trial went well: the next pause is short again."""
        self._same, self._last = 0, ""


def research(
    study: Study,
    proposer: Proposer,
    limits: StopLimits,
    *,
    ahead: bool = True,
    pauses: TroublePauses | None = None,
    retry_policy: RetryPolicy | None = None,
    on_note: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], object] = time.sleep,
    between: Callable[[], None] = lambda: None,
) -> str:
    """Run trials until a limit is reached; returns why it stopped.

    After errors of the machine (a full disk, a locked file, a busy GPU) the loop pauses and tries
    again, once a trial has shown that the lab works; other errors are raised. `retry_policy`
    answers failed proposals. With `ahead`, a slow proposer makes its next proposal while a trial
    runs. `between` is called before each new trial. `study.ending` ends the session after the run
    under way, KeyboardInterrupt at once; the study can go on later in both cases.
    """
    session = Session(
        study, proposer, limits, ahead, pauses or TroublePauses(), retry_policy or RetryPolicy(),
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
    """One session of the loop: its proposer, its limits, and its answers to failures."""

    study: Study
    proposer: Proposer
    limits: StopLimits
    ahead: bool
    pauses: TroublePauses
    retry_policy: RetryPolicy
    note: Callable[[str], None]
    sleep: Callable[[float], object]
    between: Callable[[], None]
    done: int = 0  # experiments of this session
    missing: set[str] = field(default_factory=set)  # proposers reported as missing
    unpriced: set[str] = field(default_factory=set)  # proposers reported as without prices

    def run(self) -> str:
        """Trial after trial; returns why it stopped."""
        self._resume()
        if self.study.ledger.best() is None:
            self.study.baseline()
            self._report_canary()
        while (why := self._over()) is None:
            try:
                self._step()
            except ProposalFailed as failed:
                self.study.ledger.spend(_cost(failed, self.proposer.name), failed.unstated_usd)
                if not self._persist(failed):
                    if self.done == 0:
                        raise
                    why = str(failed)
                    break
            except ProposerError as error:
                if self.study.finish() is None and self.done == 0:
                    raise
                return str(error)
            except (ExecutorError, GitError, LedgerError, NoRoom, OSError) as error:
                if self.done == 0 or isinstance(error, BranchMoved):
                    raise
                self._wait_out(error)
        self.study.finish()
        return why

    def _step(self) -> None:
        """One trial: an interrupted one, or else a new one."""
        trial = self.study.recover() or self._next()
        self.done += trial.proposer != CONFIRMER
        self.pauses.forget()
        self.study.reserve.hold()
        self._report_missing(trial)
        self._report_unpriced(trial)
        self.study.heed_alarms()
        if not trial.is_skipped:
            self.retry_policy.forget()
        elif takes_time(self.proposer) and not trial.is_foreign:
            self._insist(trial)

    def _report_canary(self) -> None:
        """Report what the canary showed, where that is more than a run that fails."""
        canary = Canary.read(self.study.ledger.facts.get("canary"))
        if canary is not None and (canary.outcome != "fails" or canary.idle):
            self.note(f"Canary: {canary.words}.")
        if self.study.ledger.facts.get("score") == COPIED:
            self.note(
                "The score command copies a number that the run itself wrote: trust level log. "
                "Let it compute the number from what the run left (docs/trust.md)."
            )

    def _report_missing(self, trial: Trial) -> None:
        """Report each proposer of a list or a mix that cannot propose, once, and why."""
        for who, why in read_details(self.study.paths.trial(trial.number)).items():
            if who.startswith("without ") and who not in self.missing:
                self.missing.add(who)
                self.note(f"Goes on {who}: {why.rstrip('.')}.")

    def _report_unpriced(self, trial: Trial) -> None:
        """Warn once if a proposer reports no cost."""
        if self.limits.usd is None or trial.cost_usd or trial.proposer in self.unpriced:
            return
        spends = [s for s in self.study.ledger.spends() if s.trial == trial.number]
        unstated = sum(s.usd for s in spends if s.kind == UNSTATED)
        if not any(s.tokens for s in spends) and not unstated:
            return
        self.unpriced.add(trial.proposer)
        counted = f"each session counts as its limit, ${unstated:.2f}"
        free = "--max-usd does not end it, --max-tokens does"
        self.note(
            f"{trial.proposer} reports no dollars: {counted if unstated else free}. "
            "For an agent, usd_per_million in agents.toml gives its tokens a price; 0: it is free."
        )

    def _next(self) -> Trial:
        """A new trial, after a call of `between` unless the session ends soon."""
        beside = self.study.finish_seconds() + BETWEEN * self.study.usual_seconds()
        if self._reached(self.done, beside) is None:
            self.between()
            self._heed()
        return self.study.step(self.proposer, self._may_begin_ahead)

    def _over(self) -> str | None:
        """Why the session is over, or None; waits while the study is paused."""
        self._heed()
        return self._reached(self.done, self.study.finish_seconds())

    def _heed(self) -> None:
        """Wait while the study is paused; raise EndAsked when a person requested an end."""
        self._pause()
        if self.study.ending:
            raise EndAsked("stopped by Ctrl-C; run again to go on")

    def _reached(self, done: int, reserved: float) -> str | None:
        return self.limits.reached(done, reserved) or self.limits.spent(self.study)

    def _may_begin_ahead(self) -> bool:
        """Whether to begin the next proposal while a trial runs."""
        if not self.ahead or not max_seconds(self.proposer):
            return False
        reserved = self.study.finish_seconds() + self.study.usual_seconds()
        return self._reached(self.done + 1, reserved) is None

    def _resume(self) -> None:
        """Finish the trial that an earlier process left, and report it."""
        left = self.study.ledger.unfinished()
        if left is not None:
            self.note(f"An earlier run left trial {left.number} {left.state}; going on from there.")
            self.study.recover()

    def _pause(self) -> None:
        """Wait while the study is paused, or until the session's time is over."""
        pause = read_pause(self.study.paths)
        if pause is None:
            return
        why = f": {pause.reason}" if pause.reason else ""
        self.note(f"Paused{why}. `autoresearch resume` goes on.")
        self.study.begin_pause()
        while self.study.paused and not self.study.ending and not self.limits.reached(self.done):
            self.sleep(LOOK)
        if not self.study.paused:
            self.note("Resumed.")

    def _persist(self, failed: ProposalFailed) -> bool:
        """Report a failed proposal, do what the policy advises, and wait; whether to go on."""
        advice = self.retry_policy.after(failed)
        if advice.stop:
            return False
        hidden = failed.kind == "refusal" and self.study.workspaces.withhold()
        log = "the last crash's log is left out" if hidden else ""
        self._follow(advice, f"No proposal ({failed.kind}): {str(failed).rstrip('.')}", log)
        return True

    def _insist(self, trial: Trial) -> None:
        """Answer proposals in a row that were rejected before running."""
        advice = self.retry_policy.repeated()
        if advice != Advice():
            many = self.retry_policy.in_a_row
            self._follow(
                advice, f"{many} proposals in a row were rejected before running ({trial.reason})"
            )

    def _follow(self, advice: Advice, what: str, also: str = "") -> None:
        """Do what the policy advises, report it, and wait."""
        if self._reached(self.done, 0.0) is not None:  # no proposal follows
            self.note(f"{what}.")
            return
        done, seconds = self.retry_policy.follow(advice, self.proposer)
        seconds = _until(self.limits, seconds)
        self.note(f"{what}; {'; '.join(filter(None, (done, also, _retry_words(seconds))))}.")
        if seconds:
            self._wait(seconds)

    def _wait_out(self, error: Exception) -> None:
        """Report an error of the machine, free the reserve for the ledger, and wait."""
        seconds = _until(self.limits, self.pauses.after(error))
        freed = " The reserve was freed." if self.study.reserve.give_up() else ""
        self.note(f"{error}{freed} Paused: {_retry_words(seconds)}.")
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        """Sleep; a real sleep is cut into pieces, so that an end can interrupt it."""
        if seconds:
            with contextlib.suppress(OSError, LedgerError):  # the disk may still be full
                self.study.begin_wait(seconds)
        if self.sleep is not time.sleep:
            self.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while not self.study.ending and (left := end - time.monotonic()) > 0:
            time.sleep(min(LOOK, left))


def _cost(failed: ProposalFailed, by: str) -> Spend:
    """The cost of a failed proposal."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Spend(now, by, failed.cost_usd, failed.tokens, None, failed.kind)


def _retry_words(seconds: float) -> str:
    return f"trying again in {seconds:.0f} s" if seconds else "trying again"


def _until(limits: StopLimits, seconds: float) -> float:
    """A wait, cut off at the session's end."""
    if limits.until is None:
        return seconds
    return min(seconds, max(0.0, limits.until - time.time()))

"""The nouns of the record: a trial, its attempts, how far it came and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean


class Status(StrEnum):
    """What became of a trial."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"


class State(StrEnum):
    """How far a trial has come; the order is the order of the line."""

    PROPOSED = "proposed"  # an edit was collected
    COMMITTED = "committed"  # it is a commit, pinned by a ref
    RUNNING = "running"  # an attempt is under way
    RAN = "ran"  # the attempt ended and is recorded
    JUDGED = "judged"  # its number was read, or its failure named
    DECIDED = "decided"  # status and reason are final
    APPLIED = "applied"  # the branch agrees


# Where a trial may go from each state. A verdict of "again" leads from judged back to running.
NEXT = {
    State.PROPOSED: {State.COMMITTED, State.DECIDED},
    State.COMMITTED: {State.RUNNING},
    State.RUNNING: {State.RUNNING, State.RAN},
    State.RAN: {State.JUDGED},
    State.JUDGED: {State.RUNNING, State.DECIDED},
    State.DECIDED: {State.APPLIED},
    State.APPLIED: set[State](),
}


SKIP = "skip"  # the word for a trial that ended before it ran
STEP = "step"  # the reason of a discard that the next candidate starts from, all the same
SCREEN, NOISE, PROOF, CLAIM, REFRESH = "screen", "noise", "proof", "claim", "refresh"
FOREIGN = "hub:"  # and an agent of the hub: the proposer of a trial that was taken over
_DECIDE = (CLAIM, PROOF)  # runs on fresh seeds that nothing was chosen by: what a trial is worth


@dataclass(frozen=True)
class Run:
    """One run of a candidate's command."""

    number: int  # from 0, within its trial
    seed: int
    seconds: float  # wall clock of the whole attempt
    exit_code: int | None  # None when it was killed
    value: float | None  # the metric, or None when there is no usable one
    memory_gb: float  # peak: of the accelerator where one was used, else resident memory
    trust: str = "log"  # who produced the number: the candidate's own log
    sandbox: str = "none"  # what stood between it and the machine
    reason: str = ""  # why there is no usable value: timeout, oom, no_metric, invalid, ...
    detail: str = ""  # one line for people: the log's own words
    numbers: Mapping[str, float] = field(default_factory=dict)  # all that the log printed
    commit: str = ""  # what ran; empty: the trial's own commit
    role: str = SCREEN  # what it was run for
    load: float | None = None  # of the machine when it began: processes that want to run


@dataclass(frozen=True)
class Spend:
    """What one proposal cost, whether anything came of it or not."""

    at: str  # UTC, ISO 8601
    proposer: str
    usd: float = 0.0
    tokens: int = 0
    trial: int | None = None  # None when it came to nothing
    kind: str = "trial"  # or why it came to nothing: busy, stop, refusal, empty, late


@dataclass(frozen=True)
class Trial:
    """One candidate: proposed, run, measured and judged."""

    number: int  # 0 is the baseline
    parent: str  # commit it was made from; the base commit for the baseline
    note: str
    proposer: str
    state: State = State.PROPOSED
    commit: str = ""
    tree: str = ""
    status: Status | None = None
    reason: str = ""
    created: str = ""  # UTC, ISO 8601
    cost_usd: float = 0.0
    runs: tuple[Run, ...] = ()
    lines: int | None = None  # of the editable files, more (or fewer) than its parent has
    nodes: int | None = None  # of their syntax trees, likewise
    code: str = ""  # fingerprint of the editable files; equal for equal code

    @property
    def own(self) -> tuple[Run, ...]:
        """The runs of its own commit; the others are of what it is compared with."""
        return tuple(a for a in self.runs if a.commit in ("", self.commit))

    @property
    def word(self) -> str:
        """What became of it, in one word for people."""
        if self.status is None:
            return "unfinished"
        if self.is_skipped:
            return SKIP
        return STEP if self.reason == STEP else self.status.value

    @property
    def why(self) -> str:
        """The reason in brackets, where it says more than the word."""
        return f" [{self.reason}]" if self.reason and self.reason != STEP else ""

    @property
    def is_skipped(self) -> bool:
        """Whether it ended before it ran: a duplicate, no change, a faulty edit."""
        return self.status is Status.CRASH and not self.runs

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else's code was taken over."""
        return self.proposer.startswith(FOREIGN)

    @property
    def is_baseline(self) -> bool:
        """Whether it is the unedited start of a study."""
        return self.parent == self.commit

    @property
    def value(self) -> float | None:
        """The metric: of runs that nothing was chosen by where there are any, else of all.

        None when its last run has none; but a keep has been proven by then, and has a number.
        """
        known = [a.value for a in self.own if a.value is not None]
        if not known or (self.own[-1].value is None and self.status is not Status.KEEP):
            return None
        fresh = [a.value for a in self.own if a.role in _DECIDE and a.value is not None]
        return fmean(fresh or known)

    @property
    def memory_gb(self) -> float:
        """Peak memory of its last run, in GiB; 0 when nothing ran."""
        return self.own[-1].memory_gb if self.own else 0.0

    @property
    def seconds(self) -> float:
        """Wall clock of all attempts together."""
        return sum(attempt.seconds for attempt in self.runs)

    @property
    def detail(self) -> str:
        """Its last run's own words, one line."""
        return self.own[-1].detail if self.own else ""

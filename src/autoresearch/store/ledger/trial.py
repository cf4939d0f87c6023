"""The nouns of the record: a trial, its runs, how far it came and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean

from autoresearch.store.ledger.explanation import Explanation


class Status(StrEnum):
    """What became of a trial."""

    KEEP = "keep"
    TENTATIVE = "tentative"  # a step: the next candidate starts from it, a confirmation decides
    DISCARD = "discard"
    CRASH = "crash"

    @property
    def public(self) -> Status:
        """The status for results.tsv and hubs: keep, discard or crash. A step is a discard."""
        return Status.DISCARD if self is Status.TENTATIVE else self


class State(StrEnum):
    """How far a trial has come; the order is the order of the line."""

    PROPOSED = "proposed"  # an edit was collected
    COMMITTED = "committed"  # it is a commit, pinned by a ref
    RUNNING = "running"  # a run is under way
    EXECUTED = "executed"  # the run ended and is recorded
    MEASURED = "measured"  # its number was read, or its failure named
    DECIDED = "decided"  # status and reason are final
    APPLIED = "applied"  # the branch agrees


# Where a trial may go from each state. One more run leads from measured back to running.
NEXT = {
    State.PROPOSED: {State.COMMITTED, State.DECIDED},
    State.COMMITTED: {State.RUNNING},
    State.RUNNING: {State.RUNNING, State.EXECUTED},
    State.EXECUTED: {State.MEASURED},
    State.MEASURED: {State.RUNNING, State.DECIDED},
    State.DECIDED: {State.APPLIED},
    State.APPLIED: set[State](),
}


SKIP = "skip"  # the word for a trial that ended before it ran
STEP = "step"  # the word for a tentative trial
# Purposes of a run.
SCREEN, NOISE, CONFIRM, CLAIM, REFRESH = "screen", "noise", "confirm", "claim", "refresh"
# Kind of a cost that no session stated: its limit is counted. What it did state is a row before it.
UNSTATED = "unstated"
FOREIGN = "hub:"  # begins the proposer of a trial that was taken over; an agent of the hub follows
_FRESH = (CLAIM, CONFIRM)  # purposes of runs on fresh seeds, which selected nothing


@dataclass(frozen=True)
class Run:
    """One run of a candidate's command."""

    number: int  # from 0, within its trial
    seed: int
    seconds: float  # wall clock of the whole run
    exit_code: int | None  # None when it was killed
    value: float | None  # the metric, or None when there is no usable one
    memory_gb: float  # peak: of the accelerator where one was used, else resident memory
    trust: str = "log"  # who produced the number: the candidate's own log
    sandbox: str = "none"  # what stood between it and the machine
    reason: str = ""  # why there is no usable value: timeout, oom, no_metric, invalid, ...
    detail: str = ""  # one line for people: the log's own words
    numbers: Mapping[str, float] = field(default_factory=dict)  # every number in the log
    commit: str = ""  # what ran; empty: the trial's own commit
    purpose: str = SCREEN  # screen, noise, confirm, claim or refresh
    load: float | None = None  # of the machine at its start: processes that want to run
    unread: Mapping[str, str] = field(
        default_factory=dict
    )  # guard -> what it said that is no number
    feedback: str = ""  # the evaluator's own words; untrusted, cleaned


@dataclass(frozen=True)
class Spend:
    """What one proposal cost, whether it became a trial or not."""

    at: str  # UTC, ISO 8601
    proposer: str
    usd: float = 0.0
    tokens: int = 0
    trial: int | None = None  # None when it became no trial
    kind: str = "trial"  # or why it became none: busy, stop, refusal, empty, late; or UNSTATED


@dataclass(frozen=True)
class Trial:
    """One candidate: proposed, run, measured and decided."""

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
    lines: int | None = None  # of the editable files, more than its parent has; may be negative
    nodes: int | None = None  # of their syntax trees, likewise
    code: str = ""  # fingerprint of the editable files; equal for equal code
    explanation: Explanation | None = None  # of its decision; None in studies of earlier versions

    @property
    def own(self) -> tuple[Run, ...]:
        """The runs of its own commit; the others are of the commit it is compared with."""
        return tuple(run for run in self.runs if run.commit in ("", self.commit))

    @property
    def word(self) -> str:
        """What became of it, in one word for people."""
        if self.status is None:
            return "unfinished"
        if self.is_skipped:
            return SKIP
        return STEP if self.status is Status.TENTATIVE else self.status.value

    @property
    def because(self) -> str:
        """Why it was decided as it was, in words; empty where the record does not say."""
        return self.explanation.words if self.explanation else self.reason

    @property
    def why(self) -> str:
        """The same in brackets, where nothing is built on it."""
        climbed = self.status in (Status.KEEP, Status.TENTATIVE)
        return f" [{self.because}]" if self.because and not climbed else ""

    @property
    def is_skipped(self) -> bool:
        """Whether it ended before it ran: a duplicate, no change, a faulty edit."""
        return self.status is Status.CRASH and not self.runs

    @property
    def is_foreign(self) -> bool:
        """Whether its code was taken over from a hub."""
        return self.proposer.startswith(FOREIGN)

    @property
    def is_baseline(self) -> bool:
        """Whether it is the unedited start of a study."""
        return self.parent == self.commit

    @property
    def value(self) -> float | None:
        """The metric: mean of held-out runs, else of all.

        None when the last run has none, except for a keep: its confirmation gave it a number.
        """
        values = self.counted_values
        return fmean(values) if values else None

    @property
    def counted_values(self) -> tuple[float, ...]:
        """The values that its value is the mean of; empty where it has none."""
        known = [run for run in self.own if run.value is not None]
        if not known or (self.own[-1].value is None and self.status is not Status.KEEP):
            return ()
        fresh = [run for run in known if run.purpose in _FRESH]
        return tuple(run.value for run in fresh or known if run.value is not None)

    @property
    def memory_gb(self) -> float:
        """Peak memory of its last run, in GiB; 0 when nothing ran."""
        return self.own[-1].memory_gb if self.own else 0.0

    @property
    def seconds(self) -> float:
        """Wall clock of all runs together."""
        return sum(run.seconds for run in self.runs)

    @property
    def feedback(self) -> str:
        """What the evaluator said about it last; untrusted text of a few clean lines."""
        return next((run.feedback for run in reversed(self.own) if run.feedback), "")

    @property
    def detail(self) -> str:
        """What its last run printed in the end, one line."""
        return self.own[-1].detail if self.own else ""

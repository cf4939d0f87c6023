"""Proposer: edits files in a workspace. It knows only its brief: neither task nor ledger."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from autoresearch.errors import ProposerError
from autoresearch.executors import Executor

Outcome = Literal["keep", "discard", "crash", "skip"]  # skip: refused before it ran
# What helps against a failure. busy: time (429, 5xx, network); stop: a person (key, billing, a
# spend cap); refusal: another beginning; empty: another try; late: nothing was said for too long.
Kind = Literal["busy", "stop", "refusal", "empty", "late"]


class ProposalFailed(ProposerError):
    """No proposal came of it, this time; what it cost is spent all the same."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        retry_after: float | None = None,
        cost_usd: float = 0.0,
        tokens: int = 0,
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.retry_after = retry_after  # seconds, as the other side asks
        self.cost_usd = cost_usd
        self.tokens = tokens
        self.ago = 0.0  # seconds since it failed, when it is told later


@dataclass(frozen=True)
class Tried:
    """One earlier experiment, as far as a proposer may know it."""

    number: int
    candidate: str  # commit hash; equal hashes mean equal files
    parent: str  # commit hash it was made from; its own for the baseline
    files: Mapping[str, str]  # editable path -> text, read from git when looked at
    outcome: Outcome
    value: float | None  # None when nothing could be measured
    note: str
    proposer: str


@dataclass(frozen=True)
class Brief:
    """What a proposer is told: the text an agent reads, and the same facts as values."""

    text: str
    editable: tuple[str, ...]  # the only paths whose edits count
    parent: str  # commit whose files the workspace holds
    minimize: bool = True
    history: tuple[Tried, ...] = ()  # finished experiments, oldest first, the baseline included
    under_way: int = 0  # experiments that run now, and are not in the history yet
    # Set when nobody waits for the proposal any more: end it soon, what it cost still counts.
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    @property
    def number(self) -> int:
        """Which experiment the proposal is for, counted over those that became commits."""
        return len(self.history) + self.under_way


@dataclass(frozen=True)
class Proposal:
    """What a proposer says of its edit. The edit itself is what it left in the workspace."""

    note: str  # one line: what was changed and why
    cost_usd: float = 0.0
    tokens: int = 0  # of input and output together
    details: Mapping[str, str] = field(default_factory=dict)  # on record; `show` prints them
    fault: str = ""  # why the edit must not run, such as disk: the trial is a crash for that reason
    rerun_parent: bool = False  # a control: run the parent, whatever stands in the workspace


@dataclass(frozen=True)
class AgentContext:
    """What a proposer that starts processes is given of the study: where, and under what rules."""

    home: Path | None = None  # a folder of its own, made anew by it; None: a temporary one
    policy: Literal["auto", "required", "off"] = "auto"  # of the sandbox
    agents: Mapping[str, Any] = field(default_factory=dict)  # [agent.NAME] of task.toml
    executor: Executor | None = None  # instead of the one that the policy asks for


@runtime_checkable
class Renewable(Protocol):
    """A proposer that can begin anew when it led nowhere."""

    def renew(self) -> bool:
        """Begin the next proposal otherwise: another session, another opening; whether it can."""


@runtime_checkable
class Yielding(Protocol):
    """A proposer of several that take turns."""

    def rotate(self) -> str | None:
        """Let the next one propose; its name, or None when there is no other."""


@runtime_checkable
class Witness(Protocol):
    """A proposer that writes down what became of its proposals."""

    def overtaken(self) -> None:
        """The last one was made for files that have changed meanwhile: it is not run."""


def max_seconds(proposer: object) -> float:
    """Seconds that one proposal may take; 0 where it takes a moment, and is not made ahead.

    A proposer says so by an attribute `max_seconds`; the default is a moment.
    """
    return float(getattr(proposer, "max_seconds", 0.0))


def owed(proposer: object) -> float:
    """Dollars that the call under way may cost, of which nobody has heard yet."""
    return float(getattr(proposer, "owed", 0.0))


def takes_time(proposer: object) -> bool:
    """Whether a proposal takes more than a moment: of several, of the one that `spoke` last."""
    spoke = getattr(proposer, "spoke", None)
    return takes_time(spoke) if spoke is not None else max_seconds(proposer) > 0


class Proposer(Protocol):
    """Edits the editable files of a workspace, in place."""

    @property
    def name(self) -> str:
        """Short name, as recorded in the ledger."""

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Edit files under `workspace`; raise ProposerError when there is nothing left to try."""

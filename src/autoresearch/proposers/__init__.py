"""Proposers edit the files of a workspace: coding agents, language models, an offline sampler.

A proposer sees its brief and the workspace, nothing else: neither task nor ledger. To add one,
write a class with `name` and `propose`; `registry.make_proposer` finds it by short name or dotted
path. `fake.ScriptedProposer` is the one for tests.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from autoresearch.errors import ProposerError
from autoresearch.executors import Executor
from autoresearch.proposers.meters import amount

__all__ = [
    "AgentContext",
    "Brief",
    "Kind",
    "Outcome",
    "Progress",
    "Proposal",
    "ProposalFailed",
    "Proposer",
    "Renewable",
    "Reporting",
    "Rotating",
    "Tried",
    "Witness",
    "max_seconds",
    "pending_cost",
    "progress",
    "takes_time",
]

Outcome = Literal["keep", "discard", "crash", "skip"]  # skip: rejected before it ran
# What helps against a failure. busy: waiting (429, 5xx, network). stop: a person (key, billing,
# spend cap). refusal: a new session. empty: another try. late: another try, after a timeout.
Kind = Literal["busy", "stop", "refusal", "empty", "late"]


def _checked(name: str, value: object) -> float:
    """An amount that a proposer states; ProposerError where it is none: it must not count as 0."""
    known = amount(value)
    if known is None:
        raise ProposerError(
            f"A proposer states {value!r} as its {name}; allowed is a number from 0 on. "
            "Where it is unknown, state its upper limit as unstated_usd."
        )
    return known


class ProposalFailed(ProposerError):
    """This call gave no proposal; a later one may. Its cost counts all the same."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        retry_after: float | None = None,
        cost_usd: float = 0.0,
        tokens: int = 0,
        unstated_usd: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.retry_after = retry_after  # seconds, as the server or agent requested
        self.cost_usd = _checked("cost_usd", cost_usd)
        self.tokens = int(_checked("tokens", tokens))
        self.unstated_usd = _checked("unstated_usd", unstated_usd)
        self.ago = 0.0  # seconds between the failure and its report to the loop


@dataclass(frozen=True)
class Tried:
    """One earlier trial, as far as a proposer may know it."""

    number: int
    candidate: str  # commit hash; equal hashes mean equal files
    parent: str  # hash of the commit it was made from; the baseline is its own parent
    files: Mapping[str, str]  # editable path -> text; read from git on access
    outcome: Outcome
    value: float | None  # None: no number could be measured
    note: str
    proposer: str


@dataclass(frozen=True)
class Brief:
    """What a proposer gets: the text that an agent reads, and the same facts as values."""

    text: str
    editable: tuple[str, ...]  # the only paths whose edits count
    parent: str  # hash of the commit whose files are in the workspace
    minimize: bool = True
    history: tuple[Tried, ...] = ()  # finished trials, oldest first, the baseline included
    under_way: int = 0  # trials that run now and are not in the history yet
    # Set when the proposal is no longer needed. Return soon; the cost still counts.
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)

    @property
    def number(self) -> int:
        """Number of the trial that the proposal is for, counted over trials that have a commit."""
        return len(self.history) + self.under_way


@dataclass(frozen=True)
class Proposal:
    """A proposer's report on its edit. The edit itself is in the workspace."""

    note: str  # one line: what was changed and why
    cost_usd: float = 0.0
    tokens: int = 0  # input and output together
    details: Mapping[str, str] = field(default_factory=dict)  # recorded; `show` prints them
    fault: str = ""  # why the edit must not run, such as disk: the trial is a crash for that reason
    rerun_parent: bool = False  # a control: run the parent unchanged, ignore the workspace
    unstated_usd: float = 0.0  # counted besides for a cost that was not stated: a session's limit

    def __post_init__(self) -> None:
        for name in ("cost_usd", "unstated_usd", "tokens"):
            known = _checked(name, getattr(self, name))
            object.__setattr__(self, name, int(known) if name == "tokens" else known)


@dataclass(frozen=True)
class AgentContext:
    """What the study gives to a proposer that starts processes."""

    home: Path | None = None  # the agent's folder, emptied for each session; None: a temporary one
    policy: Literal["auto", "required", "off"] = "auto"  # for the sandbox
    agents: Mapping[str, Any] = field(default_factory=dict)  # [agent.NAME] of task.toml
    executor: Executor | None = None  # replaces the one that the policy selects


class Proposer(Protocol):
    """Edits the editable files of a workspace, in place."""

    @property
    def name(self) -> str:
        """Short name, as recorded in the ledger."""

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Edit files under `workspace`.

        Raise ProposalFailed when this call gives no proposal, ProposerError when nothing is left
        to try.
        """


# ---- what a proposer may offer besides -----------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How far a proposal has come while its proposer works on it."""

    usd: float = 0.0  # reported so far; an agent may report its cost at the end alone
    tokens: int = 0
    line: str = ""  # the last thing that it printed, one clean line
    quiet: float | None = None  # seconds since then


@runtime_checkable
class Reporting(Protocol):
    """A proposer that reports how far its current call has come."""

    def progress(self) -> Progress | None:
        """What is known now, from any thread; None outside a call."""


@runtime_checkable
class Renewable(Protocol):
    """A proposer that can start over after failures."""

    def renew(self) -> bool:
        """Start the next proposal from a new session; return whether that is possible."""


@runtime_checkable
class Rotating(Protocol):
    """A proposer made of several members that take turns."""

    def rotate(self) -> str | None:
        """Switch to the next member; return its name, or None when there is no other."""


@runtime_checkable
class Witness(Protocol):
    """A proposer that records what happened to its proposals."""

    def overtaken(self) -> None:
        """Record that the last proposal is not run: its parent's files changed meanwhile."""


def max_seconds(proposer: object) -> float:
    """Seconds that one proposal may take, from the proposer's attribute `max_seconds`.

    0, the default, means that it takes a moment; such a proposal is not made ahead of time.
    """
    return float(getattr(proposer, "max_seconds", 0.0))


def pending_cost(proposer: object) -> float:
    """Dollars that the current call may cost and has not reported yet, else 0."""
    return float(getattr(proposer, "pending_cost", 0.0))


def progress(proposer: object) -> Progress | None:
    """What a proposer reports of its current call; None when it reports nothing."""
    return proposer.progress() if isinstance(proposer, Reporting) else None


def takes_time(proposer: object) -> bool:
    """Whether a proposal takes more than a moment; a team answers for its `last_proposer`."""
    last = getattr(proposer, "last_proposer", None)
    return takes_time(last) if last is not None else max_seconds(proposer) > 0

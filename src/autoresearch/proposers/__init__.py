"""Proposer: edits files in a workspace. It knows only its brief: neither task nor ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from autoresearch.errors import ProposerError

Outcome = Literal["keep", "discard", "crash"]
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


@dataclass(frozen=True)
class Proposal:
    """What a proposer says of its edit. The edit itself is what it left in the workspace."""

    note: str  # one line: what was changed and why
    cost_usd: float = 0.0
    tokens: int = 0  # of input and output together
    details: Mapping[str, str] = field(default_factory=dict)


class Proposer(Protocol):
    """Edits the editable files of a workspace, in place."""

    @property
    def name(self) -> str:
        """Short name, as recorded in the ledger."""

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """Edit files under `workspace`; raise ProposerError when there is nothing left to try."""

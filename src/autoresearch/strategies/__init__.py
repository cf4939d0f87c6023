"""Strategy: decides from the record alone which commit comes next and what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autoresearch.store.ledger import SCREEN, Explanation, Ledger, Status, Trial

__all__ = ["CONFIRMER", "RUN_AGAIN", "Decision", "RunRequest", "Strategy"]

CONFIRMER = "confirm"  # the proposer of a trial without an edit, which confirms a stack of steps


@dataclass(frozen=True)
class RunRequest:
    """One more run of a trial: which commit, for what purpose, with which of the trial's seeds."""

    commit: str = ""  # empty: the trial's own
    purpose: str = SCREEN
    seed_index: int = 0  # runs of one index are a pair: they differ by the commit alone


@dataclass(frozen=True)
class Decision:
    """What becomes of a trial. Without a status: run again, as `request` says."""

    status: Status | None
    reason: str = ""
    request: RunRequest | None = None  # None: the trial's own commit, with a fresh seed
    explanation: Explanation | None = None  # why, in numbers; None where nothing was compared

    @property
    def climbs(self) -> bool:
        """Whether later trials are built on it."""
        return self.status in (Status.KEEP, Status.TENTATIVE)


RUN_AGAIN = Decision(None)


class Strategy(Protocol):
    """The rule of a search: a pure function of the ledger."""

    @property
    def name(self) -> str:
        """Short name, as recorded in the ledger."""

    def select(self, ledger: Ledger) -> str:
        """The commit to start the next candidate from; the ledger has a kept trial."""

    def due_confirmation(self, ledger: Ledger, *, last: bool = False) -> str | None:
        """A commit to confirm before anything new is tried, or None.

        With `last` nothing new follows, so every open step is due.
        """

    def decide(self, trial: Trial, ledger: Ledger) -> Decision:
        """What the runs so far mean, even none; the trial's value is None when the last failed."""

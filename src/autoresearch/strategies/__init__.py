"""Strategy: picks the parent and judges the result. A pure function of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autoresearch.store.ledger import SCREEN, STEP, Ledger, Status, Trial

PROVER = "confirm"  # the proposer of a trial that changes nothing, but proves


@dataclass(frozen=True)
class RunRequest:
    """One more run: of what, for what, with which of the trial's seeds."""

    commit: str = ""  # empty: the trial's own
    role: str = SCREEN
    draw: int = 0  # runs of one draw have the same seed


@dataclass(frozen=True)
class Verdict:
    """What to do with a trial. Without a status: run something again, with a fresh seed."""

    status: Status | None
    reason: str = ""
    look: RunRequest | None = None  # what to run; None: the trial's own commit

    @property
    def climbs(self) -> bool:
        """Whether something will be built on it, now or later."""
        return self.status is Status.KEEP or self.reason == STEP


AGAIN = Verdict(None)


class Strategy(Protocol):
    """The rule of a search."""

    @property
    def name(self) -> str:
        """Short name, as recorded in the ledger."""

    def select(self, ledger: Ledger) -> str:
        """The commit to start the next candidate from; the ledger has a kept trial."""

    def due_confirmation(self, ledger: Ledger, *, last: bool = False) -> str | None:
        """A commit to prove before anything new is tried, or None.

        With `last` nothing new will follow, so whatever is open is due.
        """

    def judge(self, trial: Trial, ledger: Ledger) -> Verdict:
        """What the runs so far mean, no run included; its value is None when the last failed."""

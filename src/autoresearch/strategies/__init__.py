"""Strategy: picks the parent and judges the result. A pure function of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autoresearch.ledger import Ledger, Status, Trial


@dataclass(frozen=True)
class Verdict:
    """What to do with a trial. Without a status: run it again, with a fresh seed."""

    status: Status | None
    reason: str = ""


AGAIN = Verdict(None)


class Strategy(Protocol):
    """The rule of a search."""

    @property
    def name(self) -> str:
        """Short name, as recorded in the ledger."""

    def select(self, ledger: Ledger) -> str:
        """The commit to start the next candidate from; the ledger has a kept trial."""

    def judge(self, trial: Trial, ledger: Ledger) -> Verdict:
        """What the last attempt means; its value is None when it failed."""

"""Fallback: a list of proposers, the first that can go on proposes (--agent codex,llm,offline)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from autoresearch.proposers import Brief, Proposal, Proposer
from autoresearch.proposers.team import Team


class Fallback:
    """Asks its proposers in the order of the list, from the first each time.

    >>> Fallback([("llm", LLMProposer("gpt-5-mini")), ("offline", OfflineProposer())])

    Its name is that of who spoke last, so that the ledger records the one who made the edit.
    """

    def __init__(
        self, members: Iterable[tuple[str, Proposer]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._team = Team(members, clock)

    @property
    def name(self) -> str:
        """Who spoke last."""
        return self._team.last or "fallback"

    @property
    def patience(self) -> float:
        """Of all its members, one after another."""
        return self._team.patience

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """The edit of the first that can; ProposalFailed or ProposerError when none can."""
        return self._team.propose(range(len(self._team.members)), workspace, brief)

    @property
    def owed(self) -> float:
        """Of the one that is asked now."""
        return self._team.owed

    @property
    def spoke(self) -> Proposer | None:
        """Who spoke last."""
        return self._team.spoke

    def renew(self) -> bool:
        """Who spoke last begins anew, if it can."""
        return self._team.renew()

    def give_way(self) -> str | None:
        """Who spoke last is passed over for half an hour; None when there is no other."""
        return self._team.give_way()

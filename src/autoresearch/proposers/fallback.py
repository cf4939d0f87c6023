"""Fallback: a list of proposers, the first that can go on proposes (--agent codex,llm,offline)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from autoresearch.proposers import Brief, Proposal, Proposer
from autoresearch.proposers.team import Team, TeamDelegate


class Fallback(TeamDelegate):
    """Asks its proposers in the order of the list, from the first each time.

    >>> Fallback([("llm", LLMProposer("gpt-5-mini")), ("offline", OfflineProposer())])

    Its name is that of who spoke last, so that the ledger records the one who made the edit.
    """

    _label = "fallback"

    def __init__(
        self, members: Iterable[tuple[str, Proposer]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._team = Team(members, clock)

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """The edit of the first that can; ProposalFailed or ProposerError when none can."""
        return self._team.propose(range(len(self._team.members)), workspace, brief)

"""Several proposers as one: a list in order of preference (Fallback), or a draw by weight (Mix).

A member that cannot propose now is skipped, so that the study goes on.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch.errors import ProposerError
from autoresearch.files import read_regular, write_inside
from autoresearch.proposers import (
    Brief,
    Progress,
    Proposal,
    ProposalFailed,
    Proposer,
    Renewable,
    max_seconds,
    pending_cost,
    progress,
)

BUSY_PAUSE = 60.0  # seconds that a busy member is skipped when it names no time
ROTATED_PAUSE = 1800.0  # seconds that a member is skipped after `rotate`; doubles each time
LONGEST_PAUSE = 4 * 3600.0


@dataclass
class TeamMember:
    """One proposer of a team, under the name that the user gave, and whether it is available."""

    label: str
    proposer: Proposer
    out: str = ""  # why it needs a person; it stays out for the session
    until: float = 0.0  # time of the team's clock until which it is skipped
    rotations: int = 0  # times that `rotate` passed it over
    busy: str = ""  # its message when it was last skipped


@dataclass(frozen=True)
class Spent:
    """What failed members cost in one call."""

    usd: float = 0.0
    tokens: int = 0
    unstated: float = 0.0  # dollars counted for costs that were not stated

    def plus(self, failed: ProposalFailed) -> Spent:
        """With one more failure."""
        return Spent(
            self.usd + failed.cost_usd,
            self.tokens + failed.tokens,
            self.unstated + failed.unstated_usd,
        )

    @property
    def named(self) -> dict[str, Any]:
        """As the arguments of a failure."""
        return {"cost_usd": self.usd, "tokens": self.tokens, "unstated_usd": self.unstated}


class Team:
    """Asks its members in the order that a subclass chooses, until one proposes.

    A member whose failure is `stop` is out for the session. One that is `busy` is skipped for as
    long as it requested. One that has nothing left to try is asked again next time. The loop
    handles all other failures.
    """

    label = "team"  # the team's name until a member has proposed

    def __init__(
        self, members: Iterable[tuple[str, Proposer]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._members = [TeamMember(label, proposer) for label, proposer in members]
        self._last: TeamMember | None = None  # the member that proposed or failed last
        self._last_name = ""
        self._failed_cost = 0.0  # dollars of members that failed in the current call
        self._clock = clock

    @property
    def name(self) -> str:
        """Name of the member that proposed last, so that the ledger records that one."""
        return self._last_name or self.label

    @property
    def max_seconds(self) -> float:
        """Seconds that one proposal may take when every member is asked in turn."""
        return sum(max_seconds(member.proposer) for member in self._members)

    @property
    def pending_cost(self) -> float:
        """Dollars that the current call may cost, including members that failed in it."""
        return self._failed_cost + sum(pending_cost(member.proposer) for member in self._members)

    def progress(self) -> Progress | None:
        """What the member that is asked now reports of its current call."""
        reports = (progress(member.proposer) for member in self._members)
        return next((report for report in reports if report is not None), None)

    @property
    def last_proposer(self) -> Proposer | None:
        """The member that proposed or failed last."""
        return self._last.proposer if self._last else None

    def order(self, brief: Brief) -> Sequence[int]:
        """Indexes of the members to ask, first to last."""
        raise NotImplementedError

    def propose(self, workspace: Path, brief: Brief) -> Proposal:
        """The first proposal of a member, its cost including failed members.

        Raises ProposalFailed or ProposerError when no member can propose.
        """
        try:
            return self._propose(self.order(brief), workspace, brief)
        finally:
            self._failed_cost = 0.0

    def _propose(self, order: Sequence[int], workspace: Path, brief: Brief) -> Proposal:
        before = {path: _read_if_regular(workspace / path) for path in brief.editable}
        spent = Spent()
        exhausted: list[str] = []
        busy: list[TeamMember] = []  # in this call, even if the wait is over by its end
        for member in (self._members[index] for index in order):
            if not self._available(member):
                continue
            try:
                proposal = member.proposer.propose(workspace, brief)
            except ProposalFailed as failed:
                spent = spent.plus(failed)
                self._failed_cost = spent.usd + spent.unstated
                self._skip(member, failed, spent)
                busy += [member] if failed.kind == "busy" else []
            except ProposerError as error:
                exhausted.append(f"{member.label}: {error}")
            else:
                return self._with_team_details(member, proposal, spent)
            _restore(workspace, before)
        raise self._nobody_can(exhausted, busy, spent)

    def renew(self) -> bool:
        """Renew the member that proposed last; return whether it can be renewed."""
        return isinstance(self.last_proposer, Renewable) and self.last_proposer.renew()

    def rotate(self) -> str | None:
        """Skip the member that proposed last for a while.

        Returns the label of a member that can propose, or None when there is no other.
        """
        others = [m for m in self._members if m is not self._last and self._available(m)]
        if self._last is None or not others:
            return None
        seconds = min(ROTATED_PAUSE * 2.0 ** min(self._last.rotations, 60), LONGEST_PAUSE)
        self._last.until, self._last.rotations = self._clock() + seconds, self._last.rotations + 1
        self._last.busy = "skipped for a while: its proposals led to nothing"
        return others[0].label

    def _available(self, member: TeamMember) -> bool:
        return not member.out and self._clock() >= member.until

    def _skip(self, member: TeamMember, failed: ProposalFailed, spent: Spent) -> None:
        """Record why a member cannot propose; raise the failures that the loop handles."""
        self._last, self._last_name = member, member.proposer.name
        if failed.kind == "stop":
            member.out = str(failed)
        elif failed.kind == "busy":
            pause = BUSY_PAUSE if failed.retry_after is None else failed.retry_after
            member.until, member.busy = self._clock() + pause, str(failed)
        else:
            failed.cost_usd, failed.tokens = spent.usd, spent.tokens
            failed.unstated_usd = spent.unstated
            raise failed

    def _with_team_details(self, member: TeamMember, proposal: Proposal, spent: Spent) -> Proposal:
        """The proposal with the failed members' cost, its author, and the members skipped."""
        self._last, self._last_name = member, member.proposer.name
        skipped = [m for m in self._members if not self._available(m)]
        missing = {f"without {m.label}": m.out or m.busy for m in skipped}
        return replace(
            proposal,
            cost_usd=proposal.cost_usd + spent.usd,
            tokens=proposal.tokens + spent.tokens,
            unstated_usd=proposal.unstated_usd + spent.unstated,
            details={**proposal.details, "proposer": member.label, **missing},
        )

    def _nobody_can(
        self, exhausted: list[str], busy: list[TeamMember], spent: Spent
    ) -> ProposerError:
        """The failure when no member proposed.

        `busy` until the first member is back; `stop` when each needs a person; else the end.
        """
        skipped = [m for m in self._members if m in busy or not self._available(m)]
        reasons = [
            *exhausted,
            *(f"{member.label}: {member.out or member.busy}" for member in skipped),
        ]
        message = " ".join(["No proposer can go on.", *reasons])
        waits = [member.until - self._clock() for member in skipped if not member.out]
        if waits:
            seconds = max(0.0, min(waits))
            return ProposalFailed("busy", message, retry_after=seconds, **spent.named)
        if skipped:
            return ProposalFailed("stop", message, **spent.named)
        return ProposerError(message)


class Fallback(Team):
    """Asks its members in the order of the list, each time from the first.

    >>> Fallback([("llm", LLMProposer("gpt-5-mini")), ("offline", OfflineProposer())])
    """

    label = "fallback"

    def order(self, brief: Brief) -> Sequence[int]:  # noqa: ARG002
        """The order of the list."""
        return range(len(self._members))


class Mix(Team):
    """Draws the order of its members by weight, from the seed and the number of the trial.

    A trial that got no commit leaves the number as it was; the next draw for it is a new one.
    """

    label = "mix"

    def __init__(
        self,
        members: Iterable[tuple[str, Proposer, float]],
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = list(members)
        super().__init__([(label, proposer) for label, proposer, _ in given], clock)
        self._weights = [weight for _, _, weight in given]
        self._seed = seed
        self._number, self._redraws = -1, 0

    def order(self, brief: Brief) -> Sequence[int]:
        """A new draw for each call."""
        self._redraws = self._redraws + 1 if brief.number == self._number else 0
        self._number = brief.number
        return weighted_order(self._weights, f"{self._seed}:{self._number}:{self._redraws}")


def weighted_order(weights: Sequence[float], seed: str) -> list[int]:
    """All indexes in an order drawn by weight; equal seeds give equal orders on every machine."""
    draw = random.Random(seed)
    waits = [-math.log(1.0 - draw.random()) / weight for weight in weights]
    return sorted(range(len(weights)), key=waits.__getitem__)


def _read_if_regular(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except OSError:
        return None


def _restore(workspace: Path, before: Mapping[str, bytes | None]) -> None:
    """Undo a failed member's edits of the editable files, before the next member works."""
    for name, content in before.items():
        if content is not None:
            write_inside(workspace, name, content)

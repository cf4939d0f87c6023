"""Several proposers as one: who cannot go on now is passed over, so that the night goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.errors import ProposerError
from autoresearch.files import read_regular, write_inside
from autoresearch.proposers import (
    Brief,
    Proposal,
    ProposalFailed,
    Proposer,
    Renewable,
    max_seconds,
    owed,
)

PAUSE = 60.0  # seconds that a busy one is passed over when it does not say how long
YIELD = 1800.0  # and one that gave way because nothing came of it; doubles each time
LONGEST = 4 * 3600.0


@dataclass
class TeamMember:
    """One proposer of a team, by the name that it was asked for, and whether it is out."""

    label: str
    proposer: Proposer
    out: str = ""  # why a person is needed; it stays out
    until: float = 0.0  # the clock's time before which it is passed over
    yielded: int = 0  # times that it gave way: each time it is passed over for longer
    busy: str = ""  # what it said then


class Team:
    """Asks its members in a given order until one proposes.

    One that says `stop` is out for the session, one that is `busy` is passed over for as long as
    it asked, one that has nothing left is asked again next time. Any other failure is the loop's.
    """

    def __init__(
        self, members: Iterable[tuple[str, Proposer]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.members = [TeamMember(label, proposer) for label, proposer in members]
        self.last = ""  # short name of who spoke last
        self._spoke: TeamMember | None = None
        self._spent = 0.0  # dollars, by those that failed in the call under way
        self._clock = clock

    @property
    def max_seconds(self) -> float:
        """Seconds that one proposal may take, when each member is asked in turn."""
        return sum(max_seconds(member.proposer) for member in self.members)

    def propose(self, order: Sequence[int], workspace: Path, brief: Brief) -> Proposal:
        """The first proposal that comes of it, with what the failed ones cost."""
        try:
            return self._asked(order, workspace, brief)
        finally:
            self._spent = 0.0

    def _asked(self, order: Sequence[int], workspace: Path, brief: Brief) -> Proposal:
        before = {path: _content(workspace / path) for path in brief.editable}
        spent, tokens = 0.0, 0
        said: list[str] = []
        busy: list[TeamMember] = []  # now, even if it asked for no wait or the others took longer
        for member in (self.members[index] for index in order):
            if not self._available(member):
                continue
            try:
                proposal = member.proposer.propose(workspace, brief)
            except ProposalFailed as failed:
                spent, tokens = spent + failed.cost_usd, tokens + failed.tokens
                self._spent = spent
                self._bench(member, failed, spent, tokens)
                busy += [member] if failed.kind == "busy" else []
            except ProposerError as error:
                said.append(f"{member.label}: {error}")
            else:
                return self._told(member, proposal, spent, tokens)
            _put_back(workspace, before)
        raise self._nobody(said, busy, spent, tokens)

    @property
    def owed(self) -> float:
        """Dollars that the call under way may cost, with what failed in it already."""
        return self._spent + sum(owed(member.proposer) for member in self.members)

    @property
    def spoke(self) -> Proposer | None:
        """Who spoke last."""
        return self._spoke.proposer if self._spoke else None

    def renew(self) -> bool:
        """Who spoke last begins anew, if it can."""
        return isinstance(self.spoke, Renewable) and self.spoke.renew()

    def rotate(self) -> str | None:
        """Pass over who spoke last for a while; who can go on, or None when nobody else can."""
        others = [m for m in self.members if m is not self._spoke and self._available(m)]
        if self._spoke is None or not others:
            return None
        seconds = min(YIELD * 2.0 ** min(self._spoke.yielded, 60), LONGEST)
        self._spoke.until, self._spoke.yielded = self._clock() + seconds, self._spoke.yielded + 1
        self._spoke.busy = "it gave way: nothing came of it"
        return others[0].label

    def _available(self, member: TeamMember) -> bool:
        return not member.out and self._clock() >= member.until

    def _bench(self, member: TeamMember, failed: ProposalFailed, spent: float, tokens: int) -> None:
        """Remember why a member cannot go on; a failure of another kind goes on to the loop."""
        self.last, self._spoke = member.proposer.name, member
        if failed.kind == "stop":
            member.out = str(failed)
        elif failed.kind == "busy":
            pause = PAUSE if failed.retry_after is None else failed.retry_after
            member.until, member.busy = self._clock() + pause, str(failed)
        else:
            failed.cost_usd, failed.tokens = spent, tokens
            raise failed

    def _told(self, member: TeamMember, proposal: Proposal, spent: float, tokens: int) -> Proposal:
        """The proposal, who made it, and who could not."""
        self.last, self._spoke = member.proposer.name, member
        missing = {f"without {m.label}": m.out or m.busy for m in self._benched()}
        return replace(
            proposal,
            cost_usd=proposal.cost_usd + spent,
            tokens=proposal.tokens + tokens,
            details={**proposal.details, "proposer": member.label, **missing},
        )

    def _benched(self) -> list[TeamMember]:
        return [member for member in self.members if not self._available(member)]

    def _nobody(
        self, said: list[str], busy: list[TeamMember], spent: float, tokens: int
    ) -> ProposerError:
        """Nobody proposed: wait for the first that is busy, else call a person, else it is over."""
        benched = [m for m in self.members if m in busy or not self._available(m)]
        said = [*said, *(f"{member.label}: {member.out or member.busy}" for member in benched)]
        words = " ".join(["No proposer can go on.", *said])
        waits = [member.until - self._clock() for member in benched if not member.out]
        if waits:
            seconds = max(0.0, min(waits))
            return ProposalFailed("busy", words, retry_after=seconds, cost_usd=spent, tokens=tokens)
        if benched:
            return ProposalFailed("stop", words, cost_usd=spent, tokens=tokens)
        return ProposerError(words)


class TeamDelegate:
    """What a proposer says of itself that has a team propose."""

    _team: Team
    _label: str  # its name before anybody spoke

    @property
    def name(self) -> str:
        """Who spoke last."""
        return self._team.last or self._label

    @property
    def max_seconds(self) -> float:
        """Of all its members, one after another."""
        return self._team.max_seconds

    @property
    def owed(self) -> float:
        """Of the one that is asked now, and those that failed before it."""
        return self._team.owed

    @property
    def spoke(self) -> Proposer | None:
        """Who spoke last."""
        return self._team.spoke

    def renew(self) -> bool:
        """Who spoke last begins anew, if it can."""
        return self._team.renew()

    def rotate(self) -> str | None:
        """Who spoke last is passed over for a while; None when there is no other."""
        return self._team.rotate()


def _content(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except OSError:
        return None


def _put_back(workspace: Path, before: Mapping[str, bytes | None]) -> None:
    """The editable files as they were: what a failed proposer left is not the next one's work."""
    for name, content in before.items():
        if content is not None:
            write_inside(workspace, name, content)

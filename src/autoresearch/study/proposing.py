"""The desk: where proposals are made, in a scratch copy of their parent; now, or one ahead.

While a trial runs, the next edit can be made on the assumption that the trial changes nothing: an
agent's minutes then cost no minutes of the machine that runs the trials. When the trial moved the
tip after all, the edit is carried over where it fits, and put aside where it does not.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from autoresearch.evaluation.evaluator import Evaluator
from autoresearch.evaluation.parsing import tail
from autoresearch.files import make_empty, read_regular, remove_tree
from autoresearch.lab.task import Task
from autoresearch.proposers import (
    Brief,
    Proposal,
    ProposalFailed,
    Proposer,
    Witness,
    max_seconds,
    pending_cost,
)
from autoresearch.store.git import Git
from autoresearch.store.ledger import Ledger, Spend, Status, Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.study.brief import make_brief
from autoresearch.study.collaborators import PeerResults

MAX_FILE = 1 << 20  # bytes of one editable file
CRASH_LINES, CRASH_CHARACTERS = 60, 4096  # of a crashed run's log that a proposer sees
SHORTEST, FIRST, LONGEST = 1.0, 5.0, 1800.0  # seconds before one that failed is asked again
PARTING = 60.0  # seconds that a proposal nobody wants any more is waited for, to know its cost

Edit = Mapping[str, bytes] | OSError  # editable path -> content, or why there is none


@dataclass(frozen=True)
class ProposedEdit:
    """An edit of a commit, and what its maker says of it."""

    parent: str
    edit: Edit
    proposal: Proposal
    by: str


class Workspaces:
    """Lets proposers edit copies of one lab's files. One proposal is in the making at a time."""

    def __init__(
        self,
        task: Task,
        git: Git,
        ledger: Ledger,
        paths: StudyPaths,
        evaluator: Evaluator,
        peers: PeerResults,
    ) -> None:
        self.task = task
        self.git = git
        self.ledger = ledger
        self.paths = paths
        self.evaluator = evaluator
        self.peers = peers
        self._withheld = -1  # a trial whose log is not shown
        self._ahead: PendingProposal | None = None

    # ---- now -----------------------------------------------------------------------------------

    def propose(self, proposer: Proposer, parent: str) -> ProposedEdit:
        """Let a proposer edit a scratch copy of the parent."""
        if max_seconds(proposer):  # beside us, so that a Ctrl-C finds what it has cost
            self.begin(proposer, parent)
            made = self.take(parent)
            assert made is not None  # of this very parent
            return made
        brief = self.brief(parent)
        with self.evaluator.exported(parent, self.paths.workspace) as (workspace, _):
            proposal = proposer.propose(workspace, brief)
            return ProposedEdit(parent, self.collect(workspace), proposal, proposer.name)

    def brief(self, parent: str) -> Brief:
        """What a proposer is told that starts from a commit."""
        return make_brief(
            self.task,
            self.ledger,
            parent,
            self.read,
            steer=read_steering(self.paths),
            crash=last_crash(self.ledger, self.paths, self._withheld),
            others=self.peers.results(),
        )

    def withhold(self) -> bool:
        """Show the log of the last crash no more: a proposer would not go on; was there one."""
        shown = bool(last_crash(self.ledger, self.paths, self._withheld))
        self._withheld = _finished(self.ledger)[-1].number if shown else self._withheld
        return shown

    def read(self, commit: str, path: str) -> str:
        """An editable file of a commit, as text."""
        return self._bytes(commit, path).decode("utf-8", errors="surrogateescape")

    def collect(self, folder: Path) -> Edit:
        """The editable files as they stand in a folder; an OSError when one is not a plain file."""
        try:
            return {name: _read_plain(folder, name) for name in self.task.editable}
        except OSError as error:
            return error

    # ---- one ahead -----------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a proposal was begun ahead, and is not taken yet."""
        return self._ahead is not None

    def begin(self, proposer: Proposer, parent: str) -> None:
        """Begin the next proposal beside whatever we do meanwhile."""

        def fresh() -> None:
            make_empty(self.paths.workspace)
            self.git.export(parent, self.paths.workspace)

        fresh()
        workspace = self.paths.workspace / self.git.prefix
        brief = self.brief(parent)
        self._ahead = PendingProposal(parent, workspace, proposer, brief, fresh, self._goes_on)

    def take(self, parent: str) -> ProposedEdit | None:
        """What was begun ahead, as an edit of `parent`; None when there is nothing, or no use.

        Waits until it is made; raises what its proposer raised. What Ctrl-C ends meanwhile is
        still there to be dropped, and paid.
        """
        if self._ahead is None:
            return None
        self._ahead.wait()
        ahead, self._ahead = self._ahead, None
        try:
            proposal = ahead.result()
            edit = self.collect(ahead.workspace)
        finally:
            remove_tree(self.paths.workspace)
        made = ProposedEdit(ahead.parent, edit, proposal, ahead.proposer.name)
        if parent == ahead.parent:
            return made
        carried = self._carried(made, parent)
        if carried is None and isinstance(ahead.proposer, Witness):
            ahead.proposer.overtaken()
        return carried

    def drop(self, within: float = PARTING) -> None:
        """Nobody wants what was begun ahead: end it, and write what it cost."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        try:
            ahead.end(within)
        finally:  # a second Ctrl-C ends the waiting, and not the account
            self._spend(ahead.proposer.name, *ahead.cost)
            remove_tree(self.paths.workspace)

    def _carried(self, made: ProposedEdit, parent: str) -> ProposedEdit | None:
        """An edit of one commit as an edit of another, by three-way merge of each file."""
        if isinstance(made.edit, OSError) or made.proposal.again:
            return replace(made, parent=parent)
        carried = {
            name: self.git.carried(content, made.parent, parent, self.git.prefix + name)
            for name, content in made.edit.items()
        }
        whole = {name: content for name, content in carried.items() if content is not None}
        if len(whole) < len(carried) or self._stands(whole, parent):
            self._spend(made.by, made.proposal.cost_usd, made.proposal.tokens)
            return None
        return replace(made, parent=parent, edit=whole)

    def _stands(self, edit: Mapping[str, bytes], commit: str) -> bool:
        """Whether a commit holds all of an edit already."""
        return all(self._bytes(commit, name) == content for name, content in edit.items())

    def _spend(self, by: str, usd: float, tokens: int) -> None:
        """What a proposal cost that came too late."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if usd or tokens:
            self.ledger.spend(Spend(now, by, usd, tokens, None, "overtaken"))

    # ---- inside --------------------------------------------------------------------------------

    def _goes_on(self) -> bool:
        """Whether no person wants a pause."""
        return not self.paths.pause.exists()

    def _bytes(self, commit: str, path: str) -> bytes:
        return self.git.read(commit, self.git.prefix + path)


@dataclass
class PendingProposal:
    """A proposal in the making, in a thread of its own. Its brief was made before.

    While nobody waits for it, one that fails because the other side is busy, and cost nothing, is
    asked for again.
    """

    parent: str
    workspace: Path
    proposer: Proposer
    brief: Brief
    fresh: Callable[[], None]  # makes the workspace anew
    wanted: Callable[[], bool]  # whether no person wants a pause
    _proposal: Proposal | None = field(default=None, init=False)
    _error: BaseException | None = field(default=None, init=False)
    _over: float = field(default=0.0, init=False)  # when it was, on the monotonic clock
    # An event: a join that Ctrl-C interrupts takes the thread for ended (CPython's bpo-45274).
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _awaited: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        threading.Thread(target=self._work, name="ahead", daemon=True).start()

    def wait(self) -> None:
        """Until it is over; who waits answers its failures from now on."""
        self._awaited.set()
        self._ended.wait()

    def result(self) -> Proposal:
        """The proposal; what went wrong is raised here, with how long ago that was."""
        if isinstance(self._error, ProposalFailed):
            self._error.ago += time.monotonic() - self._over
        if self._error is not None:
            raise self._error
        assert self._proposal is not None
        return self._proposal

    def end(self, within: float) -> None:
        """Have it ended, and wait for that at most so many seconds."""
        self.brief.cancelled.set()
        self._awaited.set()
        self._ended.wait(within)

    @property
    def cost(self) -> tuple[float, int]:
        """The dollars and tokens that it cost, or may have if it has not ended."""
        told = self._proposal or self._error
        if isinstance(told, (Proposal, ProposalFailed)):
            return told.cost_usd, told.tokens
        return pending_cost(self.proposer), 0

    def _work(self) -> None:
        try:
            self._proposal = self._made()
        except BaseException as error:  # told to whoever waits
            self._error = error
        self._ended.set()

    def _made(self) -> Proposal:
        """The proposal, after as many tries as a busy side needs."""
        limit = FIRST
        while True:
            try:
                return self.proposer.propose(self.workspace, self.brief)
            except ProposalFailed as failed:
                self._over = time.monotonic()
                if not self._tries_again(failed, limit):
                    raise
            limit = min(2 * limit, LONGEST)
            self.fresh()

    def _tries_again(self, failed: ProposalFailed, limit: float) -> bool:
        """Whether to ask again, once that makes sense: what costs money is the loop's to decide."""
        free = not (failed.cost_usd or failed.tokens)
        if failed.kind != "busy" or not free or not max_seconds(self.proposer):
            return False
        wait = max(SHORTEST, (failed.retry_after or 0.0) + random.uniform(0, limit))
        return not self._awaited.wait(max(0.0, wait - failed.ago)) and self.wanted()


def read_steering(paths: StudyPaths) -> str:
    """What a person added to the briefs while the study runs."""
    with contextlib.suppress(FileNotFoundError):
        return paths.steering.read_text(encoding="utf-8", errors="replace")
    return ""


def last_crash(ledger: Ledger, paths: StudyPaths, withheld: int = -1) -> str:
    """The end of the last finished trial's log, if it crashed and was no stranger's code."""
    last = next(iter(_finished(ledger)[-1:]), None)
    if last is None or last.status is not Status.CRASH or not last.runs or last.is_foreign:
        return ""
    if last.number == withheld:
        return ""
    log = paths.log(last.number, last.runs[-1].number)
    return "\n".join(tail(log, CRASH_LINES))[-CRASH_CHARACTERS:]


def _finished(ledger: Ledger) -> list[Trial]:
    return [trial for trial in ledger.trials() if trial.status is not None]


def _read_plain(folder: Path, name: str) -> bytes:
    """A file below a folder, reached through no link."""
    path = folder
    for part in Path(name).parts[:-1]:
        path = path / part
        if path.is_symlink():
            raise OSError(f"{path} is a link")
    return read_regular(folder / name, MAX_FILE)

"""Proposing: a proposer edits a scratch copy of the parent, now or one trial ahead.

While a trial runs, the next edit can be made on the assumption that the tip does not move, so the
machine does not wait for the agent. If the trial moves the tip after all, the edit is merged onto
the new tip, or dropped if it conflicts.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from autoresearch.errors import TaskError
from autoresearch.evaluation.evaluator import Evaluator
from autoresearch.evaluation.parsing import tail
from autoresearch.files import make_empty, not_utf8, read_regular, remove_tree
from autoresearch.lab.task import Task
from autoresearch.proposers import (
    Brief,
    Progress,
    Proposal,
    ProposalFailed,
    Proposer,
    Witness,
    max_seconds,
    pending_cost,
    progress,
)
from autoresearch.store.git import Git
from autoresearch.store.ledger import Ledger, Spend, Status, Trial
from autoresearch.store.paths import StudyPaths
from autoresearch.study.brief import make_brief
from autoresearch.study.collaborators import PeerResults

MAX_FILE = 1 << 20  # bytes of one editable file
CRASH_LINES, CRASH_CHARACTERS = 60, 4096  # of a crashed run's log that a proposer sees
SHORTEST, FIRST, LONGEST = 1.0, 5.0, 1800.0  # seconds before a failed proposer is tried again
PARTING = 60.0  # grace period for a cancelled proposal, in which it reports its cost

Edit = Mapping[str, bytes] | OSError  # editable path -> content, or why there is none


@dataclass(frozen=True)
class ProposedEdit:
    """An edit of a commit, and the proposal that describes it."""

    parent: str
    edit: Edit
    proposal: Proposal
    by: str


@dataclass(frozen=True)
class ProposalUnderWay:
    """A proposal that a proposer is making: who, since when, and how far it reports to be."""

    proposer: Proposer
    began: float  # on the monotonic clock

    @property
    def progress(self) -> Progress | None:
        """What the proposer reports of it now; None when it reports nothing."""
        return progress(self.proposer)


class Workspaces:
    """Scratch copies of one lab's files for proposers. One proposal is pending at a time."""

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
        self._withheld = -1  # the trial whose log briefs leave out
        self._pending: PendingProposal | None = None

    # ---- now -----------------------------------------------------------------------------------

    def propose(self, proposer: Proposer, parent: str) -> ProposedEdit:
        """Let a proposer edit a scratch copy of the parent."""
        if max_seconds(proposer):  # in a thread, so that its cost is known after a Ctrl-C
            self.begin(proposer, parent)
            made = self.take(parent)
            assert made is not None  # of this very parent
            return made
        brief = self.brief(parent)
        with self.evaluator.exported(parent, self.paths.workspace) as (workspace, _):
            proposal = proposer.propose(workspace, brief)
            return ProposedEdit(parent, self.collect(workspace), proposal, proposer.name)

    def brief(self, parent: str) -> Brief:
        """The brief for a proposer that starts from this commit."""
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
        """Leave the last crash's log out of briefs after a refusal; whether there was one."""
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
        """Whether a proposal is pending."""
        return self._pending is not None

    @property
    def under_way(self) -> ProposalUnderWay | None:
        """The pending proposal while its proposer works on it; may be called from any thread."""
        pending = self._pending
        if pending is None or pending.is_over:
            return None
        return ProposalUnderWay(pending.proposer, pending.began)

    def begin(self, proposer: Proposer, parent: str) -> None:
        """Begin the next proposal in a thread of its own."""

        def renew() -> None:
            make_empty(self.paths.workspace)
            self.git.export(parent, self.paths.workspace)

        renew()
        workspace = self.paths.workspace / self.git.prefix
        brief = self.brief(parent)
        self._pending = PendingProposal(parent, workspace, proposer, brief, renew, self._may_retry)

    def take(self, parent: str) -> ProposedEdit | None:
        """The pending proposal as an edit of `parent`; None without one, or when it conflicts.

        Waits for it, and raises its proposer's error. After a Ctrl-C during the wait it is still
        pending: `drop` ends it and records its cost.
        """
        if self._pending is None:
            return None
        self._pending.wait()
        pending, self._pending = self._pending, None
        try:
            proposal = pending.result()
            edit = self.collect(pending.workspace)
        finally:
            remove_tree(self.paths.workspace)
        made = ProposedEdit(pending.parent, edit, proposal, pending.proposer.name)
        if parent == pending.parent:
            return made
        carried = self._carried(made, parent)
        if carried is None and isinstance(pending.proposer, Witness):
            pending.proposer.overtaken()
        return carried

    def drop(self, within: float = PARTING) -> None:
        """Cancel the pending proposal, wait at most `within` seconds, and record its cost."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.end(within)
        finally:  # a second Ctrl-C ends the wait, and the cost is recorded all the same
            self._spend(pending.proposer.name, *pending.cost)
            remove_tree(self.paths.workspace)

    def _carried(self, made: ProposedEdit, parent: str) -> ProposedEdit | None:
        """An edit of one commit as an edit of another, by three-way merge; None on conflict."""
        if isinstance(made.edit, OSError) or made.proposal.rerun_parent:
            return replace(made, parent=parent)
        carried = {
            name: self.git.carried(content, made.parent, parent, self.git.prefix + name)
            for name, content in made.edit.items()
        }
        whole = {name: content for name, content in carried.items() if content is not None}
        if len(whole) < len(carried) or self._stands(whole, parent):
            self._spend(made.by, *_cost(made.proposal))
            return None
        return replace(made, parent=parent, edit=whole)

    def _stands(self, edit: Mapping[str, bytes], commit: str) -> bool:
        """Whether a commit contains all of an edit already."""
        return all(self._bytes(commit, name) == content for name, content in edit.items())

    def _spend(self, by: str, usd: float, tokens: int, unstated_usd: float) -> None:
        """Record the cost of a proposal that came too late."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if usd or tokens or unstated_usd:
            self.ledger.spend(Spend(now, by, usd, tokens, None, "overtaken"), unstated_usd)

    # ---- inside --------------------------------------------------------------------------------

    def _may_retry(self) -> bool:
        """Whether the study is not paused."""
        return not self.paths.pause.exists()

    def _bytes(self, commit: str, path: str) -> bytes:
        return self.git.read(commit, self.git.prefix + path)


@dataclass
class PendingProposal:
    """A proposal that a thread is making.

    Until the loop waits for it, the thread tries again after a failure of kind `busy` that cost
    nothing.
    """

    parent: str
    workspace: Path
    proposer: Proposer
    brief: Brief
    renew_workspace: Callable[[], None]
    may_retry: Callable[[], bool]  # false while the study is paused
    began: float = field(default_factory=time.monotonic, init=False)
    _proposal: Proposal | None = field(default=None, init=False)
    _error: BaseException | None = field(default=None, init=False)
    _failed_at: float = field(default=0.0, init=False)  # on the monotonic clock
    # An event: a join that Ctrl-C interrupts takes the thread for ended (CPython's bpo-45274).
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _awaited: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        threading.Thread(target=self._work, name="ahead", daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether its thread has ended."""
        return self._ended.is_set()

    def wait(self) -> None:
        """Wait until it has ended; from now on the caller answers its failures."""
        self._awaited.set()
        self._ended.wait()

    def result(self) -> Proposal:
        """The proposal; raises its error, with the seconds since then in `ago`."""
        if isinstance(self._error, ProposalFailed):
            self._error.ago += time.monotonic() - self._failed_at
        if self._error is not None:
            raise self._error
        assert self._proposal is not None
        return self._proposal

    def end(self, within: float) -> None:
        """Cancel it, and wait at most this many seconds for its end."""
        self.brief.cancelled.set()
        self._awaited.set()
        self._ended.wait(within)

    @property
    def cost(self) -> tuple[float, int, float]:
        """Dollars, tokens, and the dollars that it may have cost besides and did not state."""
        told = self._proposal or self._error
        if isinstance(told, (Proposal, ProposalFailed)):
            return _cost(told)
        return 0.0, 0, pending_cost(self.proposer)

    def _work(self) -> None:
        try:
            self._proposal = self._made()
        except BaseException as error:  # raised by `result`
            self._error = error
        self._ended.set()

    def _made(self) -> Proposal:
        """The proposal, after as many tries as a busy service needs."""
        limit = FIRST
        while True:
            try:
                return self.proposer.propose(self.workspace, self.brief)
            except ProposalFailed as failed:
                self._failed_at = time.monotonic()
                if not self._should_retry(failed, limit):
                    raise
            limit = min(2 * limit, LONGEST)
            self.renew_workspace()

    def _should_retry(self, failed: ProposalFailed, limit: float) -> bool:
        """Wait, then whether to try again; the loop decides about failures that cost money."""
        free = not any(_cost(failed))
        if failed.kind != "busy" or not free or not max_seconds(self.proposer):
            return False
        wait = max(SHORTEST, (failed.retry_after or 0.0) + random.uniform(0, limit))
        return not self._awaited.wait(max(0.0, wait - failed.ago)) and self.may_retry()


def _cost(made: Proposal | ProposalFailed) -> tuple[float, int, float]:
    return made.cost_usd, made.tokens, made.unstated_usd


def read_steering(paths: StudyPaths) -> str:
    """The text that a person added to the briefs; TaskError if it is no text."""
    try:
        return paths.steering.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise TaskError(f"{not_utf8(paths.steering, error)}.") from error


def last_crash(ledger: Ledger, paths: StudyPaths, withheld: int = -1) -> str:
    """The end of the last finished trial's log, if it crashed and is our own code."""
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
    """The bytes of a file below a folder; OSError when a link leads to it."""
    path = folder
    for part in Path(name).parts[:-1]:
        path = path / part
        if path.is_symlink():
            raise OSError(f"{path} is a link")
    return read_regular(folder / name, MAX_FILE)

"""Ideas: which commit of another agent is worth a run here, and in what form.

A commit is taken whole when its result is better than ours by more than the noise. It is mixed with
ours (a three-way merge from the common baseline) when nothing of our own has helped for a while.
Each commit is tried once in each form. The more ideas in a row fail, the longer the next one waits:
false claims cost little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoresearch.proposers import Proposal
from autoresearch.store.ledger import FOREIGN, Status, Trial
from autoresearch.store.simplicity import fingerprint
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.confirmation import SequentialConfirmation
from autoresearch.strategies.summary import believed
from autoresearch.study.proposing import ProposedEdit
from autoresearch.study.study import Study
from autoresearch.swarm.discovery import MET, MIXED, WHOLE, ForeignCommit
from autoresearch.swarm.outbox import Outbox
from autoresearch.swarm.strip_comments import strip_comments

MOST_MISSES = 6  # that make the wait longer: 2**6 own trials at most


@dataclass(frozen=True)
class Idea:
    """An edit that another agent's commit suggests."""

    source: ForeignCommit
    files: Mapping[str, bytes]
    mixed: bool

    def as_edit(self, parent: str, metric: str) -> ProposedEdit:
        """The idea as a proposal. Its note has our words only: numbers and a hash."""
        result = self.source.result
        worth = f"{metric} {result.worth:.6f} there, {result.verdict}"
        how = "mixed with" if self.mixed else "taken from"
        note = f"{how} the hub's {result.commit[:12]} ({worth})"
        return ProposedEdit(parent, self.files, Proposal(note), FOREIGN + result.agent)


@dataclass
class Ideas:
    """Chooses the next idea, in the loop's thread."""

    study: Study
    outbox: Outbox
    mix_after: int  # own trials without a gain, after which ideas are mixed in
    without_gain: int = field(default=0, init=False)  # such trials so far
    wait: int = field(default=0, init=False)  # own trials until the next idea
    misses: int = field(default=0, init=False)  # ideas in a row that did not help

    def __post_init__(self) -> None:
        for trial in self.study.ledger.trials():
            self.count(trial)

    def count(self, trial: Trial) -> None:
        """Count a finished trial."""
        if trial.proposer == CONFIRMER or trial.is_baseline or not trial.own:
            return
        gained = trial.status in (Status.KEEP, Status.TENTATIVE)
        if trial.is_foreign:
            self.misses = 0 if gained else min(self.misses + 1, MOST_MISSES)
            self.wait = 0 if gained else 2**self.misses
        else:
            self.wait = max(0, self.wait - 1)
        self.without_gain = 0 if gained else self.without_gain + 1

    def pick(self, commits: tuple[ForeignCommit, ...], parent: str) -> Idea | None:
        """The idea to run now, recorded as tried; None when our own ideas come first."""
        if self.wait or not commits:
            return None
        level, noise = believed_level(self.study)
        for source in commits:
            met = self.outbox.fact(MET + source.result.commit)
            gain = self.study.task.metric.gain(source.result.worth, level)
            if not met and gain > noise:
                self.outbox.note(MET + source.result.commit, WHOLE)
                files = strip_comments(source.files, self._ours(parent))
                if files is not None and self._is_new(files, parent):
                    return Idea(source, files, mixed=False)
        return self._mix(commits, parent) if self.without_gain >= self.mix_after else None

    def _mix(self, commits: tuple[ForeignCommit, ...], parent: str) -> Idea | None:
        for source in commits:
            if self.outbox.fact(MET + source.result.commit) == MIXED:
                continue
            self.outbox.note(MET + source.result.commit, MIXED)
            stripped = strip_comments(source.files, self._ours(parent))
            files = self._merged(stripped, parent) if stripped is not None else None
            if files is not None and self._is_new(files, parent):
                return Idea(source, files, mixed=True)
        return None

    def _ours(self, parent: str) -> list[dict[str, bytes]]:
        """The editable files of the baseline and of the parent."""
        names = self.study.task.editable
        return [
            {name: self.study.read_bytes(commit, name) for name in names}
            for commit in (self.study.base, parent)
        ]

    def _merged(self, theirs: Mapping[str, bytes], parent: str) -> dict[str, bytes] | None:
        """Their edit of the baseline, applied to our parent; None on a conflict."""
        git, base = self.study.git, self.study.base
        merged = {
            name: git.carried(content, base, parent, git.prefix + name)
            for name, content in theirs.items()
        }
        whole = {name: content for name, content in merged.items() if content is not None}
        return whole if len(whole) == len(merged) else None

    def _is_new(self, files: Mapping[str, bytes], parent: str) -> bool:
        """Whether this code was not run here and is not the parent's."""
        if self.study.ledger.tried(fingerprint(files)) is not None:
            return False
        return any(self.study.read_bytes(parent, name) != files[name] for name in files)


def believed_level(study: Study) -> tuple[float, float]:
    """The level of the tip as the strategy believes it, and the noise of one run (sd)."""
    if isinstance(study.strategy, SequentialConfirmation):
        return believed(study.strategy.standing(study.ledger), study.task.metric)
    best = study.ledger.best()
    assert best is not None and best.value is not None, "called after the baseline"
    return best.value, 0.0


def is_exact(idea: Idea, study: Study, commit: str) -> bool:
    """Whether a commit of ours holds exactly the files that the other agent measured."""
    return not idea.mixed and study.git.lab_tree(commit) == idea.source.tree

"""Ideas: which commit of somebody else is worth a run here, and in what form.

Whole, when it is said to be better than what we have by more than the noise; mixed with ours (a
three-way merge from the common baseline) when nothing of our own has helped for a while. Each
commit is tried once in each form, and what led nowhere makes the next one wait longer: claims that
are not true cost little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoresearch.proposers import Proposal
from autoresearch.store.ledger import FOREIGN, Status, Trial
from autoresearch.store.simplicity import fingerprint
from autoresearch.strategies import CONFIRMER
from autoresearch.strategies.confirmation import SequentialConfirmation
from autoresearch.study.proposing import ProposedEdit
from autoresearch.study.study import Study
from autoresearch.swarm.discovery import MET, MIXED, WHOLE, Found
from autoresearch.swarm.outbox import Outbox
from autoresearch.swarm.strip_comments import quieted

MOST_MISSES = 6  # that make the wait longer: 2**6 own trials at most


@dataclass(frozen=True)
class Idea:
    """An edit that somebody else's commit suggests."""

    found: Found
    files: Mapping[str, bytes]
    mixed: bool

    def made(self, parent: str, metric: str) -> ProposedEdit:
        """The idea as a proposal. Its words are ours: numbers and a hash."""
        seen = self.found.seen
        told = f"{metric} {seen.worth:.6f} there, {seen.verdict}"
        note = (
            f"{'mixed with' if self.mixed else 'taken from'} the hub's {seen.commit[:12]} ({told})"
        )
        return ProposedEdit(parent, self.files, Proposal(note), FOREIGN + seen.agent)


@dataclass
class Ideas:
    """Chooses, in the loop's thread."""

    study: Study
    outbox: Outbox
    max_seconds: int  # own trials without a gain, after which ideas are mixed in
    quiet: int = field(default=0, init=False)  # such trials by now
    wait: int = field(default=0, init=False)  # own trials until the next idea
    misses: int = field(default=0, init=False)  # ideas in a row that led nowhere

    def __post_init__(self) -> None:
        for trial in self.study.ledger.trials():
            self.count(trial)

    def count(self, trial: Trial) -> None:
        """A trial is finished."""
        if trial.proposer == CONFIRMER or trial.is_baseline or not trial.own:
            return
        gained = trial.status in (Status.KEEP, Status.TENTATIVE)
        if trial.is_foreign:
            self.misses = 0 if gained else min(self.misses + 1, MOST_MISSES)
            self.wait = 0 if gained else 2**self.misses
        else:
            self.wait = max(0, self.wait - 1)
        self.quiet = 0 if gained else self.quiet + 1

    def pick(self, found: tuple[Found, ...], parent: str) -> Idea | None:
        """The idea to run now, remembered as tried; None when our own are better."""
        if self.wait or not found:
            return None
        level, noise = standing(self.study)
        for each in found:
            how = self.outbox.fact(MET + each.seen.commit)
            if not how and self._gain(each, level) > noise:
                self.outbox.note(MET + each.seen.commit, WHOLE)
                files = quieted(each.files, self._ours(parent))
                if files is not None and self._is_new(files, parent):
                    return Idea(each, files, mixed=False)
        return self._mixed(found, parent) if self.quiet >= self.max_seconds else None

    def _mixed(self, found: tuple[Found, ...], parent: str) -> Idea | None:
        for each in found:
            if self.outbox.fact(MET + each.seen.commit) == MIXED:
                continue
            self.outbox.note(MET + each.seen.commit, MIXED)
            quiet = quieted(each.files, self._ours(parent))
            files = self._merged(quiet, parent) if quiet is not None else None
            if files is not None and self._is_new(files, parent):
                return Idea(each, files, mixed=True)
        return None

    def _ours(self, parent: str) -> list[dict[str, bytes]]:
        """The editable files of the baseline and of what we would start from."""
        names = self.study.task.editable
        return [
            {name: self.study.read_bytes(commit, name) for name in names}
            for commit in (self.study.base, parent)
        ]

    def _merged(self, theirs: Mapping[str, bytes], parent: str) -> dict[str, bytes] | None:
        """Their edit of the baseline, made in our parent; None where the two touch the same."""
        git, base = self.study.git, self.study.base
        merged = {
            name: git.carried(content, base, parent, git.prefix + name)
            for name, content in theirs.items()
        }
        whole = {name: content for name, content in merged.items() if content is not None}
        return whole if len(whole) == len(merged) else None

    def _is_new(self, files: Mapping[str, bytes], parent: str) -> bool:
        """Whether this code was neither run here, nor is what we would start from."""
        if self.study.ledger.tried(fingerprint(files)) is not None:
            return False
        return any(self.study.read_bytes(parent, name) != files[name] for name in files)

    def _gain(self, found: Found, level: float) -> float:
        return self.study.task.metric.gain(found.seen.worth, level)


def standing(study: Study) -> tuple[float, float]:
    """What the tip is believed to be worth, and how far two runs of one commit lie apart."""
    if isinstance(study.strategy, SequentialConfirmation):
        at = study.strategy.standing(study.ledger)
        sign = -1.0 if study.task.metric.direction == "minimize" else 1.0
        return sign * at.level.value, at.noise.sd
    best = study.ledger.best()
    assert best is not None and best.value is not None, "asked after the baseline"
    return best.value, 0.0


def exact(idea: Idea, study: Study, commit: str) -> bool:
    """Whether a commit of ours holds exactly the files that somebody else measured."""
    return not idea.mixed and study.git.lab_tree(commit) == idea.found.tree

"""The canary: editable files that are replaced by ones that fail must make the command fail.

Else a run does not measure the candidate: the command uses another copy of the code, such as the
person's own checkout after `pip install -e .`, and every trial of a night measures the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from autoresearch.evaluation.evaluator import Evaluator
from autoresearch.evaluation.parsing import parse_run, run_of
from autoresearch.store.ledger import Run

Outcome = Literal["fails", "answers", "survives", "unclear", "off"]
PYTHON = b"raise SystemExit('autoresearch canary: this file was replaced by one that fails')\n"
OTHER = b"\0 autoresearch canary: this file was replaced by one that fails \xff )]}>\n"
# Endings of files that nothing may refuse to read: whether one matters, a number may not show.
PROSE = frozenset(["", ".txt", ".md", ".rst", ".csv", ".tsv", ".bin", ".npy", ".npz"])
FAR = 0.5  # of the larger value: a number that differs by more is another answer, no noise
ALONE = 30.0  # seconds for each of several files alone, at most
FILES = 5  # that are replaced alone, at most
CAUSES = (
    "The likely cause: the lab is installed in editable form (pip install -e .), or the command "
    "imports or reads its code from elsewhere (PYTHONPATH, an absolute path). Let the command use "
    "the files below its own working directory. If it is right that failing code changes nothing, "
    'say why in task.toml: [canary] off = "the reason".'
)


@dataclass(frozen=True)
class Canary:
    """What happened when editable files were replaced by ones that fail."""

    outcome: Outcome
    words: str
    commit: str  # whose files were replaced
    idle: tuple[str, ...] = ()  # files that were replaced alone, and nothing changed

    @property
    def stands(self) -> bool:
        """Whether a study may begin: all but `survives`."""
        return self.outcome != "survives"

    def text(self) -> str:
        """As a study records it."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str | None) -> Canary | None:
        """What a study recorded; None when there is nothing that can be read."""
        try:
            fields = json.loads(text or "")
            return cls(**{**fields, "idle": tuple(fields["idle"])})
        except (ValueError, TypeError, KeyError):
            return None


def fly(evaluator: Evaluator, commit: str, pristine: str, folder: Path, first: Run) -> Canary:
    """Run a commit with all its editable files replaced, then with each of several alone.

    `first` is a run of the commit as it is: a canary has its seed, and not much more than its time.
    """
    task = evaluator.task
    if task.canary_off:
        return Canary("off", f"off: {task.canary_off}", commit)
    flight = _Flight(evaluator, commit, pristine, folder, first)
    names = ", ".join(task.editable)
    limit = min(task.budget.timeout, 1.5 * first.seconds + 10)
    outcome, seen = flight.outcome(task.editable, limit)
    if outcome == "survives":
        if all(PurePosixPath(name).suffix.lower() in PROSE for name in task.editable):
            return Canary("unclear", f"{names} replaced by nonsense: {seen}", commit)
        words = f"{names} replaced by code that fails: the command still works ({seen}). {CAUSES}"
        return Canary("survives", f"{words} Log: {flight.log}", commit)
    alone = task.editable[:FILES] if len(task.editable) > 1 else ()
    limit = min(limit, ALONE)
    idle = tuple(n for n in alone if flight.outcome((n,), limit)[0] == "survives")
    more = f"; {', '.join(idle)} alone: nothing changes, is it used?" if idle else ""
    return Canary(outcome, f"{names} replaced: {seen}{more}", commit, idle)


def look(evaluator: Evaluator, commit: str, folder: Path) -> Canary:
    """One run of a commit with all its editable files replaced, before there is a run to compare.

    It may take ALONE seconds: failing code fails soon.
    """
    task = evaluator.task
    if task.canary_off:
        return Canary("off", f"off: {task.canary_off}", commit)
    unknown = Run(0, 42, 0.0, None, None, 0.0)
    outcome, seen = _Flight(evaluator, commit, commit, folder, unknown).outcome(
        task.editable, min(task.budget.timeout, ALONE)
    )
    words = f"{', '.join(task.editable)} replaced: {seen}"
    if outcome == "fails":
        return Canary(outcome, words, commit)
    return Canary(
        "unclear", f"{words}: do runs use the editable files? A study's start says", commit
    )


@dataclass(frozen=True)
class _Flight:
    """Runs of one commit with files replaced, compared with a run of it as it is."""

    evaluator: Evaluator
    commit: str
    pristine: str
    folder: Path
    first: Run

    @property
    def log(self) -> Path:
        """The log of the last run."""
        return self.folder / "run.log"

    def outcome(self, names: tuple[str, ...], limit: float) -> tuple[Outcome, str]:
        """How the command answers to files that fail, and what was seen."""
        task = self.evaluator.task
        files: Mapping[str, bytes] = {n: PYTHON if n.endswith(".py") else OTHER for n in names}
        execution = self.evaluator.run(
            self.commit, self.pristine, self.log, self.first.seed, replaced=files, timeout=limit
        )
        run = run_of(0, self.first.seed, execution, task.source)
        found = parse_run(run, self.log, task, self.evaluator.verdict(self.log))
        if found.value is None:
            return "fails", f"the run fails ({found.reason})"
        known = self.first.value
        seen = f"{task.metric.name} {found.value:g}"
        seen += "" if known is None else f", as it is {known:g}"
        return ("answers" if self._differs(found.value) else "survives"), seen

    def _differs(self, value: float) -> bool:
        """Whether a number is another answer than that of the files as they are."""
        before = self.first.value
        if before is None or (value != before and self.evaluator.task.keep.noise == "none"):
            return True
        return abs(value - before) > FAR * max(abs(value), abs(before))

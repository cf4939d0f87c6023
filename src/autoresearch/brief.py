"""What a proposer is told: the same ledger always gives the same brief."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from autoresearch.ledger import STEP, Ledger, State, Status, Trial
from autoresearch.proposers import Brief, Tried
from autoresearch.task import Task

RECENT = 20  # trials shown one by one

ReadFile = Callable[[str, str], str]  # (commit, editable path) -> text


class CommitFiles(Mapping[str, str]):
    """The editable files of a commit, read from git when looked at."""

    def __init__(self, commit: str, editable: Sequence[str], read: ReadFile) -> None:
        self._commit = commit
        self._editable = editable
        self._read = read

    def __getitem__(self, path: str) -> str:
        if path not in self._editable:
            raise KeyError(path)
        return self._read(self._commit, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._editable)

    def __len__(self) -> int:
        return len(self._editable)


def make_brief(task: Task, ledger: Ledger, parent: str, read: ReadFile) -> Brief:
    """The brief for a candidate that starts from `parent`."""
    finished = [trial for trial in ledger.trials() if trial.state is State.APPLIED]
    return Brief(
        text=brief_text(task, ledger.kept(), finished),
        editable=task.editable,
        parent=parent,
        minimize=task.metric.direction == "minimize",
        history=tuple(_tried(trial, task.editable, read) for trial in finished if trial.commit),
    )


def brief_text(task: Task, kept: Sequence[Trial], finished: Sequence[Trial]) -> str:
    """The same in words: the person's program, the contract, and what happened so far."""
    parts = [task.program.strip(), _contract(task)]
    if kept:
        parts.append("## Kept so far, the last is the best\n\n" + _lines(task, kept))
    if recent := finished[-RECENT:]:
        parts.append("## The last experiments\n\n" + _lines(task, recent))
    return "\n\n".join(part for part in parts if part) + "\n"


def _contract(task: Task) -> str:
    better = "lower" if task.metric.direction == "minimize" else "higher"
    seconds = f", {task.budget.seconds:g} s of it training" if task.budget.seconds else ""
    return (
        "## The contract\n\n"
        f"- Edit only: {', '.join(task.editable)}. Everything else is restored before the run.\n"
        f"- The harness runs `{task.command}` and reads {task.metric.name}; {better} is better.\n"
        f"- A run is killed after {task.budget.timeout:g} s of wall clock{seconds}.\n"
        "- Make one change, say in one line what it is and why; do not run the experiment yourself."
    )


def _lines(task: Task, trials: Sequence[Trial]) -> str:
    return "\n".join(_line(task, trial) for trial in trials)


def _line(task: Task, trial: Trial) -> str:
    status = trial.word
    because = trial.why.replace("[", "(").replace("]", ")")
    value = "-" if trial.value is None else f"{trial.value:.6f}"
    return f"- #{trial.number} {status}{because} {task.metric.name} {value}: {trial.note}"


def _tried(trial: Trial, editable: Sequence[str], read: ReadFile) -> Tried:
    return Tried(
        number=trial.number,
        candidate=trial.commit,
        parent=trial.parent,
        files=CommitFiles(trial.commit, editable, read),
        outcome="keep" if trial.reason == STEP else (trial.status or Status.CRASH).value,
        value=trial.value,
        note=trial.note,
        proposer=trial.proposer,
    )

"""Overview of a study for readers; another process may write to it meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass

from autoresearch.lab.task import Task
from autoresearch.store.git import Git
from autoresearch.store.heartbeat import Heartbeat, last_beat
from autoresearch.store.ledger import Ledger, State
from autoresearch.store.paths import StudyPaths
from autoresearch.store.pause import read_pause
from autoresearch.strategies.alarms import Alarm, alarms
from autoresearch.strategies.registry import make_strategy
from autoresearch.strategies.summary import Summary, summarize
from autoresearch.study.brief import make_brief
from autoresearch.study.opening import begun_with, running
from autoresearch.study.proposing import last_crash, read_steering


@dataclass(frozen=True)
class Overview:
    """A study at one moment: what it has found, and what is on its way."""

    study: str  # its tag
    task: str
    summary: Summary
    now: str | None  # the trial on its way
    seconds: float  # that all runs took together
    branch: str
    alarms: tuple[Alarm, ...] = ()


@dataclass(frozen=True)
class Activity:
    """The process that holds a study, and its stage."""

    holder: str
    beat: Heartbeat | None

    @property
    def spent(self) -> float:
        """Seconds since the stage began."""
        return time.time() - self.beat.began if self.beat else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until a paused loop tries again; None when it does not wait."""
        if self.beat is None or self.beat.verb != "hold" or self.beat.stalled:
            return None
        return max(0.0, self.beat.limit - self.spent)


def overview(task: Task, ledger: Ledger, paths: StudyPaths) -> Overview:
    """What a study has found, and what is on its way."""
    unfinished = ledger.unfinished()
    return Overview(
        study=paths.tag,
        task=task.name,
        summary=summarize(ledger, paths.extra_runs),
        now=f"#{unfinished.number} {unfinished.state}: {unfinished.note}" if unfinished else None,
        seconds=sum(trial.seconds for trial in ledger.trials() if trial.state is State.APPLIED),
        branch=f"autoresearch/{paths.tag}",
        alarms=alarms(ledger, task, time.time() if running(paths) else None),
    )


def activity_of(paths: StudyPaths) -> Activity | None:
    """The process that holds a study now; None when no process does."""
    holder = running(paths)
    return None if holder is None else Activity(holder, last_beat(paths.heartbeat))


def pause_told(paths: StudyPaths) -> str:
    """Why no trial may begin now; empty when the study is not paused."""
    pause = read_pause(paths)
    if pause is None:
        return ""
    why = "" if pause.reason else ": a person needs the machine"
    return (
        f"Study {paths.tag} is paused {pause.text}{why}. Nothing was run, "
        "and your edit is as it was. Wait until `autoresearch resume`, then try again."
    )


def next_brief(task: Task, ledger: Ledger, paths: StudyPaths, git: Git) -> str:
    """The text of the next brief."""
    rule = begun_with(task, paths.tag) or task.keep.strategy
    parent = make_strategy(rule, task.keep).select(ledger)

    def read(commit: str, path: str) -> str:
        return git.read(commit, git.prefix + path).decode("utf-8", "surrogateescape")

    steer, crash = read_steering(paths), last_crash(ledger, paths)
    made = make_brief(
        task,
        ledger,
        parent,
        read,
        steer=steer,
        crash=crash,
        summary=summarize(ledger, paths.extra_runs),
    )
    return made.text.encode("utf-8", "replace").decode()


def changes(task: Task, ledger: Ledger, git: Git, trial: int, other: int | None = None) -> str:
    """What a trial changed; with another, the difference from the first to that one."""
    new = ledger.trial(trial if other is None else other)
    old = new.parent if other is None else ledger.trial(trial).commit
    paths = [git.prefix + name for name in task.editable]
    return git.diff(old, new.commit, paths) if old and new.commit else ""

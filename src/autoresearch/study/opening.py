"""Opening a study: take its lock, and check lab, branch, disk and rule."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO

from autoresearch import __version__
from autoresearch.errors import BranchMoved, GitError, LedgerError, TaskError
from autoresearch.executors import Executor
from autoresearch.executors.leftover import FILE as LEFTOVER
from autoresearch.executors.leftover import kill_leftover
from autoresearch.executors.probe import make_executor
from autoresearch.lab.task import FOR_AGENTS, PROGRAM, Task
from autoresearch.store.disks import check_local, check_writable
from autoresearch.store.git import Git, check_git
from autoresearch.store.ledger import Ledger
from autoresearch.store.locks import take_lock
from autoresearch.store.paths import (
    RESULTS,
    STATE_FOLDER,
    StudyPaths,
    current_tag,
    set_current_tag,
    state_folder,
    tags,
)
from autoresearch.store.simplicity import FINGERPRINT
from autoresearch.strategies import Strategy
from autoresearch.study.collaborators import Collaborators
from autoresearch.study.study import Study


def default_tag(lab: Path) -> str:
    """The lab's current study, or one named after today: nov21."""
    return current_tag(lab) or date.today().strftime("%b%d").lower()


@contextlib.contextmanager
def open_study(
    task: Task,
    tag: str,
    strategy: Strategy,
    executor: Executor | None = None,
    *,
    seed: int = 42,
    collaborators: Collaborators | None = None,
) -> Iterator[Study]:
    """Make or resume a study and hold its lock: no other process can write to it meanwhile.

    The default executor follows the task's sandbox policy. Errors: LedgerError when another
    process holds it, TaskError and GitError when lab, task or branch do not fit the study.
    """
    check_git()
    _ = task.program  # refused now if it is no text, and not by the first brief
    git = Git.discover(task.folder)
    paths = _paths(git, task, tag)
    _check_disks(git, task)
    known = paths.ledger.exists()
    if not known:
        _check_new(git, task, paths)
    state_folder(task.folder)
    paths.home.mkdir(exist_ok=True)
    with _locked(paths.lock), contextlib.closing(Ledger(paths.ledger, task.metric)) as ledger:
        if not ledger.facts:
            ledger.remember(**_facts(git, task, tag, strategy, seed))
        git.drop_stale_locks(paths.branch, f"{paths.pins}*")
        git.drop_stale_scratch()
        _check_same_task(ledger, task)
        _check_same_rule(ledger, strategy, task)
        _rebase(git, ledger, paths)
        if known:
            _check_files(git, task, ledger.facts["base"], paths)
        _check_branch(git, ledger, paths)
        set_current_tag(task.folder, tag)
        _end_leftovers(paths)
        executor = executor or make_executor(task.sandbox, paths.home)
        study = Study(task, git, ledger, paths, executor, strategy, collaborators)
        study.reserve.hold()
        study.renew_fingerprints()
        if len(ledger):
            study.write_results()  # the last process may have ended just before it did
        yield study


@contextlib.contextmanager
def read_study(task: Task, tag: str | None = None) -> Iterator[tuple[Ledger, StudyPaths, Git]]:
    """Read a study without its lock, at any time; LedgerError when there is none."""
    name = tag or current_tag(task.folder)
    if name is None or not StudyPaths(task.folder, name).ledger.exists():
        known = tags(task.folder)
        seen = f"No study {name!r} here" if name else "No study here yet"
        told = f" (there are: {', '.join(known)})" if known else ""
        raise LedgerError(f"{seen}{told}. Start one: autoresearch run --tag {name or 'NAME'}")
    paths = StudyPaths(task.folder, name)
    with contextlib.closing(Ledger(paths.ledger, task.metric)) as ledger:
        yield ledger, paths, Git.discover(task.folder)


def _end_leftovers(paths: StudyPaths) -> None:
    """Kill processes that an earlier loop left running; it is gone, since we hold its lock."""
    runs = (*paths.trials.glob(f"*/**/{LEFTOVER}"), *paths.extra_runs.glob(f"*/**/{LEFTOVER}"))
    for written in (*runs, paths.agent / LEFTOVER):
        kill_leftover(written)


def _paths(git: Git, task: Task, tag: str) -> StudyPaths:
    if "/" in tag or tag.startswith(("-", ".")) or not git.valid_branch(f"autoresearch/{tag}"):
        raise TaskError(
            f"--tag is {tag!r}; allowed is a name that git takes as a branch, without slashes, "
            "such as nov21 or wider-mlp."
        )
    return StudyPaths(task.folder, tag)


def running(paths: StudyPaths) -> str | None:
    """The process that holds a study, or None."""
    try:
        with paths.lock.open("r+") as stream:
            return None if take_lock(stream) else stream.read().strip() or "another process"
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the study's lock; the kernel releases it when this process ends, however it ends."""
    with path.open("a+") as stream:
        if not _lock_soon(stream):
            stream.seek(0)
            raise LedgerError(
                f"This study is already running, in {stream.read().strip() or 'another process'}. "
                "Wait for it, stop it there with Ctrl-C, or start another one with --tag NAME."
            )
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {platform.node()}")
        stream.flush()
        yield


def _lock_soon(stream: IO[str], max_seconds: float = 0.5) -> bool:
    """Take the lock; try for a while, since a reader may hold it for a moment."""
    deadline = time.monotonic() + max_seconds
    while not (held := take_lock(stream)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


def _check_disks(git: Git, task: Task) -> None:
    """Check that lab, state and repository can be written, and the state's disk is local."""
    state = task.folder / STATE_FOLDER
    check_local(state)
    for folder in (task.folder, git.git_dir, *([state] if state.is_dir() else [])):
        check_writable(folder)


def _check_new(git: Git, task: Task, paths: StudyPaths) -> None:
    """Check that a new study can start from HEAD, and that its branch and table are free."""
    head = git.resolve("HEAD")
    if head is None:
        raise GitError(
            f"The repository of {task.folder} has no commit yet, and a study starts from one: "
            "git add -A && git commit -m 'my lab'"
        )
    if git.ref(paths.branch) is not None:
        raise TaskError(
            f"The branch autoresearch/{paths.tag} exists, but no ledger of a study of that name "
            f"does. Take another --tag, or remove it: git branch -D autoresearch/{paths.tag}"
        )
    _check_files(git, task, head, paths)
    if os.path.lexists(paths.results) and not tags(task.folder):
        raise TaskError(
            f"{RESULTS} is there, and no study of this lab wrote it; a study rewrites it after "
            f"every trial. Keep it under another name: mv {RESULTS} results.old.tsv"
        )


def _check_branch(git: Git, ledger: Ledger, paths: StudyPaths) -> None:
    """Check that the branch is where the ledger left it; create that of a new study."""
    unfinished = ledger.unfinished()
    settled = ledger.best_before(unfinished) if unfinished else ledger.best()
    expected = settled.commit if settled else ledger.facts["base"]
    stands = git.ref(paths.branch)
    if stands is None:
        git.create_ref(paths.branch, expected)
    elif stands != expected and not (unfinished and stands == unfinished.commit):
        raise BranchMoved(
            f"The branch autoresearch/{paths.tag} is at {stands[:12]}, and the ledger left it at "
            f"{expected[:12]}: somebody moved it. Put it back with `git update-ref {paths.branch} "
            f"{expected}`, or start a new study from it: check it out and take another --tag."
        )


def _rebase(git: Git, ledger: Ledger, paths: StudyPaths) -> None:
    """Before its first keep a study starts from the current HEAD."""
    if ledger.best() is not None:
        return
    head, base = git.resolve("HEAD"), ledger.facts["base"]
    if head is not None and head != base and ledger.unfinished() is None:
        ledger.remember(base=head)
        if git.ref(paths.branch) == base:
            git.move_ref(paths.branch, head, base)


def _check_files(git: Git, task: Task, base: str, paths: StudyPaths) -> None:
    committed = {entry.path.removeprefix(git.prefix) for entry in git.entries(base, git.prefix)}
    for name in task.editable:
        if name not in committed:
            raise TaskError(
                f"editable names {name}, and git does not know it. "
                f"Commit it: git add {name} && git commit -m 'add {name}'"
            )
    if RESULTS in committed:
        then = f", then start a new study: autoresearch run --tag {paths.tag}-2"
        raise TaskError(
            f"{RESULTS} is in the commit, and a study rewrites it after every trial. Take it "
            f"out, the file stays: git rm --cached {RESULTS} && echo {RESULTS} >> .gitignore && "
            f"git add .gitignore && git commit -m 'without {RESULTS}'"
            f"{then if paths.ledger.exists() else ''}"
        )
    free = {*task.editable, PROGRAM, *FOR_AGENTS}
    if changed := [name for name in git.changed_files(base) if name not in free]:
        listed = ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")
        raise TaskError(
            f"Fixed files differ from the commit this study measures with ({base[:12]}): {listed}. "
            f"Put them back (git checkout {base[:12]} -- {changed[0]}), or commit them and start "
            f"a new study: autoresearch run --tag {paths.tag}-2"
        )


def begun_with(task: Task, tag: str) -> str | None:
    """The strategy that a study was begun with; None when there is no such study."""
    paths = StudyPaths(task.folder, tag)
    if not paths.ledger.exists():
        return None
    with (
        contextlib.suppress(LedgerError),  # opening will report it
        contextlib.closing(Ledger(paths.ledger, task.metric)) as ledger,
    ):
        return ledger.facts.get("strategy")
    return None


def _check_same_rule(ledger: Ledger, strategy: Strategy, task: Task) -> None:
    """Check that the rule is the study's own: a decision rests on all before it."""
    if ledger.best() is None and ledger.unfinished() is None:
        ledger.remember(strategy=strategy.name, keep=task.keep.settings)
    facts = ledger.facts
    if facts["strategy"] != strategy.name:
        raise TaskError(
            f"This study was begun with the strategy {facts['strategy']}, and {strategy.name} is "
            f"asked for. Go on with --strategy {facts['strategy']}, or take another --tag."
        )
    settings = task.keep.settings
    if facts.get("keep", settings) != settings:
        raise TaskError(
            f"This study was begun with {facts['keep']} under [keep], and task.toml now says "
            f"{settings}: its verdicts would not compare. Put it back, or take another --tag."
        )


def _check_same_task(ledger: Ledger, task: Task) -> None:
    facts = ledger.facts
    now = {"metric": task.metric.name, "direction": task.metric.direction}
    for key, value in now.items():
        if facts[key] != value:
            raise TaskError(
                f"task.toml says {key} {value!r}, and this study began with {facts[key]!r}: its "
                "numbers would not compare. Put it back, or take another --tag."
            )


def _facts(git: Git, task: Task, tag: str, strategy: Strategy, seed: int) -> dict[str, str]:
    head = git.resolve("HEAD")
    assert head is not None
    return {
        "tag": tag,
        "base": head,
        "task": task.name,
        "metric": task.metric.name,
        "direction": task.metric.direction,
        "command": task.command,
        "budget": f"{task.budget.seconds:g}" if task.budget.seconds else "",
        "timeout": f"{task.budget.timeout:g}",
        "strategy": strategy.name,
        "keep": task.keep.settings,
        "seed": str(seed),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        "autoresearch": __version__,
        "fingerprint": FINGERPRINT,
    }

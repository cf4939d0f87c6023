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
from autoresearch.errors import GitError, LedgerError, TaskError
from autoresearch.executors import Executor
from autoresearch.executors.leftover import FILE as LEFTOVER
from autoresearch.executors.leftover import kill_leftover
from autoresearch.executors.probe import make_executor
from autoresearch.lab.task import RULE, Task
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
from autoresearch.study.branch import StudyBranch
from autoresearch.study.collaborators import Collaborators
from autoresearch.study.fixed_files import TASK_TEXT, FixedFiles, note_differences, task_text
from autoresearch.study.study import Study
from autoresearch.study.tags import Tag, check_tag, choose_tag, claim_new, own


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

    Where another study of the repository has the tag, this one is `<tag>-2`: `study.paths.tag`
    has its name, and `study.notices` what a person should know.
    The default executor follows the task's sandbox policy. Errors: LedgerError when another
    process holds it, TaskError and GitError when lab, task or branch do not fit the study.
    """
    check_git()
    _ = task.program  # refused now if it is no text, and not by the first brief
    git = Git.discover(task.folder)
    check_tag(git, tag)
    _check_disks(git, task)
    chosen, known = _entered(git, task, tag)
    paths = chosen.paths(task)
    notices = [chosen.notice]
    with _locked(paths.lock), contextlib.closing(Ledger(paths.ledger, task.metric)) as ledger:
        if not ledger.facts:
            ledger.remember(**_facts(git, task, chosen.name, strategy, seed))
        git.drop_stale_locks(paths.branch, paths.owner, f"{paths.pins}*")
        git.drop_stale_scratch()
        _check_same_task(ledger, task)
        _check_same_rule(ledger, strategy, task)
        own(git, ledger, paths)
        branch = StudyBranch(git, ledger, paths)
        _rebase(git, ledger, paths, branch)
        notices.append(_check_files(git, task, paths, ledger, known=known))
        branch.check()
        branch.catch_up()
        set_current_tag(task.folder, chosen.name)
        _end_leftovers(paths)
        executor = executor or make_executor(task.sandbox, paths.home)
        study = Study(task, git, ledger, paths, executor, strategy, collaborators)
        study.notices = tuple(filter(None, (*notices, study.branch.announce())))
        study.reserve.hold()
        study.renew_fingerprints()
        if len(ledger):
            study.write_results()  # the last process may have ended just before it did
        yield study


def _entered(git: Git, task: Task, asked: str) -> tuple[Tag, bool]:
    """The study's tag, its folder made and its refs claimed; whether it has a ledger."""
    while True:
        chosen = choose_tag(task, asked, git)
        paths = chosen.paths(task)
        known = paths.ledger.exists()
        if not known:
            _check_new(git, task, paths)
        state_folder(task.folder)
        if known or claim_new(git, paths):
            paths.home.mkdir(exist_ok=True)
            return chosen, known


@contextlib.contextmanager
def read_study(task: Task, tag: str | None = None) -> Iterator[tuple[Ledger, StudyPaths, Git]]:
    """Read a study without its lock, at any time; LedgerError when there is none."""
    name = tag or current_tag(task.folder)
    if tag and not StudyPaths(task.folder, tag).ledger.exists():
        with contextlib.suppress(GitError, TaskError):  # its tag may be in use by another study
            found = choose_tag(task, tag)
            name = found.name if found.paths(task).ledger.exists() else tag
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
    """Check that a new study can start from HEAD, and that its table is free."""
    head = git.resolve("HEAD")
    if head is None:
        raise GitError(
            f"The repository of {task.folder} has no commit yet, and a study starts from one: "
            "git add -A && git commit -m 'my lab'"
        )
    _check_committed(git, task, head, paths)
    FixedFiles(git, task, head, f"{paths.tag}-2", known=False).check()
    if os.path.lexists(paths.results) and not tags(task.folder):
        raise TaskError(
            f"{RESULTS} is there, and no study of this lab wrote it; a study rewrites it after "
            f"every trial. Keep it under another name: mv {RESULTS} results.old.tsv"
        )


def _rebase(git: Git, ledger: Ledger, paths: StudyPaths, branch: StudyBranch) -> None:
    """Before its first keep a study starts from the current HEAD."""
    if ledger.best() is not None:
        return
    head, base = git.resolve("HEAD"), ledger.facts["base"]
    if head is not None and head != base and ledger.unfinished() is None:
        ledger.remember(base=head)
        if git.ref(paths.branch) == base:
            branch.advance(head, base)


def _check_files(git: Git, task: Task, paths: StudyPaths, ledger: Ledger, *, known: bool) -> str:
    """Check that what measures is as committed; a notice of what else differs, when it is new."""
    base = ledger.facts["base"]
    if known:
        _check_committed(git, task, base, paths)
    remembered = ledger.facts.get(TASK_TEXT) if ledger.best() is not None else None
    fixed = FixedFiles(git, task, base, f"{paths.tag}-2", known=True, task_text=remembered)
    noted = note_differences(ledger, fixed.check())
    ledger.remember(timeout=f"{task.budget.timeout:g}")
    if remembered is None:
        ledger.remember(**{TASK_TEXT: task_text(task)})
    if noted is None or not noted.changed:
        return ""
    return (
        f"Not as in the study's commit, and no number depends on it: {'; '.join(noted.changed)}. "
        "It is recorded; `autoresearch status` shows it."
    )


def _check_committed(git: Git, task: Task, base: str, paths: StudyPaths) -> None:
    """Check that the editable files are in the commit, and that results.tsv is not git's."""
    committed = {entry.path.removeprefix(git.prefix) for entry in git.entries(base, git.prefix)}
    for name in task.editable:
        if name not in committed:
            raise TaskError(
                f"editable names {name}, and git does not know it. "
                f"Commit it: git add {name} && git commit -m 'add {name}'"
            )
    if RESULTS in committed or git.is_tracked(RESULTS):
        then = f", then start a new study: autoresearch run --tag {paths.tag}-2"
        raise TaskError(
            f"Git tracks {RESULTS}, and a study rewrites it after every trial. Keep what is in it "
            f"under another name: git mv {RESULTS} results.old.tsv && echo {RESULTS} >> .gitignore "
            f"&& git add .gitignore && git commit -m 'keep {RESULTS} as results.old.tsv'"
            f"{then if RESULTS in committed and paths.ledger.exists() else ''}"
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
        ledger.remember(
            strategy=strategy.name, keep=task.keep.settings, rule=str(task.keep.rule or RULE)
        )
    facts = ledger.facts
    if facts["strategy"] != strategy.name:
        raise TaskError(
            f"This study was begun with the strategy {facts['strategy']}, and {strategy.name} is "
            f"asked for. Go on with --strategy {facts['strategy']}, or take another --tag."
        )
    rule, begun = task.keep.rule, facts.get("rule", "1")
    if rule is not None and str(rule) != begun:
        raise TaskError(
            f"This study was begun with version {begun} of the keep rule, and keep.rule in "
            f"task.toml is now {rule}: its verdicts would not compare. Take the key out, then the "
            "study goes on with its own version, or take another --tag."
        )
    settings = task.keep.settings
    if facts.get("keep", settings) != settings:
        raise TaskError(
            f"This study was begun with {facts['keep']} under [keep], and task.toml now says "
            f"{settings}: its verdicts would not compare. Put it back, or take another --tag."
        )


def _check_same_task(ledger: Ledger, task: Task) -> None:
    facts = ledger.facts
    metric = task.metric
    now = {"metric": metric.name, "direction": metric.direction, "scale": metric.scale}
    for key, value in now.items():
        begun = facts.get(key, "linear")  # before there was a choice, all scales were linear
        if begun != value:
            raise TaskError(
                f"task.toml says {key} {value!r}, and this study began with {begun!r}: its "
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
        "scale": task.metric.scale,
        "command": task.command,
        "budget": f"{task.budget.seconds:g}" if task.budget.seconds else "",
        "timeout": f"{task.budget.timeout:g}",
        "strategy": strategy.name,
        "keep": task.keep.settings,
        "rule": str(task.keep.rule or RULE),
        "seed": str(seed),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        "autoresearch": __version__,
        "fingerprint": FINGERPRINT,
    }

"""Evaluator: runs, checks and scores a commit, each time in a fresh export."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from autoresearch.evaluation.forgery import forge, forged_value, is_copy
from autoresearch.evaluation.jobs import checks_job, job_env, run_job
from autoresearch.evaluation.scoring import judge_beside, judged, score_afterwards, verdict_file
from autoresearch.evaluation.verdicts import Scored, read_verdict
from autoresearch.executors import Execution, Executor, Job
from autoresearch.executors.gpus import GpuGuard
from autoresearch.files import make_empty, remove_tree, write_inside
from autoresearch.lab.task import Task
from autoresearch.store import artefacts
from autoresearch.store.disk_space import check_disk
from autoresearch.store.git import Git
from autoresearch.store.paths import StudyPaths

VALIDATION, ALL_SETS = "validation", "validation,holdout"


class Evaluator:
    """Runs commits of one lab. `pristine` is the commit whose files score them."""

    def __init__(self, task: Task, git: Git, paths: StudyPaths, executor: Executor) -> None:
        self.task = task
        self.git = git
        self.paths = paths
        self.executor = executor
        self.gpus = GpuGuard(job_env(task) if task.access.gpu else None)

    def run(
        self,
        commit: str,
        pristine: str,
        log: Path,
        seed: int,
        sets: str = VALIDATION,
        *,
        replaced: Mapping[str, bytes] = MappingProxyType({}),
        timeout: float | None = None,
    ) -> Execution:
        """Run a commit once, when disk and GPUs have room; its artefacts are kept for a while.

        `replaced` are files of the lab with other content, `timeout` a shorter time limit.
        """
        make_empty(log.parent)
        check_disk(self.paths.home, self.task.free_disk)
        self.gpus.wait()
        with self.exported(commit, self.paths.export) as (folder, files):
            for name, content in replaced.items():
                write_inside(folder, name, content)
            job = run_job(self.task, folder, log, seed)
            job = replace(job, timeout=min(job.timeout, timeout or job.timeout))
            execution = self._judged(job, pristine, seed, sets)
            artefacts.keep(self.paths.export, files, log.parent / artefacts.FOLDER)
        if self.task.source == "score" and execution.ok:
            with self.exported(pristine, self.paths.pristine) as (folder, _):
                left = log.parent / artefacts.FOLDER / self.git.prefix
                score_afterwards(self.task, self.executor, folder, log, left, seed)
        return execution

    def verdict(self, log: Path) -> Scored | None:
        """The verdict of the judge or score command on a run; None when its log decides."""
        if self.task.source == "log":
            return None
        guards = [bound.name for bound in self.task.guards]
        return read_verdict(verdict_file(log), self.task.metric, guards)

    def copies(self, log: Path, pristine: str, seed: int, value: float) -> bool:
        """Whether the score command copies its number from a file that the run wrote.

        The run's artefacts must still be there. False also where the number stands in no text file.
        """
        forged = forged_value(value, self.task.metric)
        left, place = log.parent / artefacts.FOLDER, log.parent / "forged"
        remove_tree(place)
        if forged is None or not left.is_dir():
            return False
        try:
            place.mkdir()
            if not forge(left, place / artefacts.FOLDER, value, forged):
                return False
            again, mine = place / log.name, place / artefacts.FOLDER / self.git.prefix
            with self.exported(pristine, self.paths.pristine) as (folder, _):
                score_afterwards(self.task, self.executor, folder, again, mine, seed)
            verdict = self.verdict(again)
            return verdict is not None and is_copy(verdict.value, forged)
        finally:
            remove_tree(place)

    def passes_checks(self, commit: str, log: Path) -> bool:
        """Whether a commit passes the task's own checks; true when it has none."""
        with self.exported(commit, self.paths.export) as (folder, _):
            job = checks_job(self.task, folder, log)
            return job is None or self.executor.run(job).ok

    @contextlib.contextmanager
    def exported(self, commit: str, folder: Path) -> Iterator[tuple[Path, frozenset[str]]]:
        """A fresh export of a commit, removed afterwards: the lab's folder in it, all its files."""
        make_empty(folder)
        try:
            files = self.git.export(commit, folder)
            yield folder / self.git.prefix, files
        finally:
            remove_tree(folder)

    def _judged(self, job: Job, pristine: str, seed: int, sets: str) -> Execution:
        """Run a job, with its judge beside it if the task has one."""
        if self.task.source != "judge":
            return self.executor.run(job)
        channel = self.paths.channel
        make_empty(channel)
        with (
            self.exported(pristine, self.paths.pristine) as (folder, _),
            judge_beside(self.task, folder, job.log, channel, seed, sets),
        ):
            return self.executor.run(judged(job, channel))

"""The jobs of an evaluation: the command of a run and of the checks, and what each may see."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autoresearch.executors import Job
from autoresearch.lab.task import Task

TRAINING = "train"  # cache folders that a run may read when a judge or a command scores it
_SECRET = re.compile(
    r"KEY|TOKEN(?!IZER)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|COOKIE|AUTH(?!OR)|_(PASS|PWD|PAT)(_|$)",
    re.IGNORECASE,
)
_OURS = re.compile(
    r"AUTORESEARCH_(SEED|BUDGET|SOCKET\w*|RESULT|SETS|ARTEFACTS)|GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|COMMON_DIR|PREFIX)"
)


def job_path() -> str:
    """PATH of a lab's commands: `python` is the interpreter that runs the harness."""
    here = str(Path(sys.executable).parent)
    return os.pathsep.join([here, os.environ.get("PATH", os.defpath)])


def job_env(task: Task, seed: int | None = None) -> dict[str, str]:
    """The environment of a lab's commands: ours without secrets, and the harness's variables."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not _SECRET.search(name) and not _OURS.fullmatch(name)
    }
    env["PATH"] = job_path()
    env["PYTHONUNBUFFERED"] = "1"
    env["AUTORESEARCH_CACHE"] = str(cache_folder())  # a sandbox has another home
    env["GIT_CEILING_DIRECTORIES"] = str(task.folder.resolve())  # its git must not find ours
    if task.budget.seconds is not None:
        env["AUTORESEARCH_BUDGET"] = f"{task.budget.seconds:.15g}"
    if seed is not None:
        env["AUTORESEARCH_SEED"] = str(seed)
    return {**env, **task.env}


def run_job(task: Task, folder: Path, log: Path, seed: int) -> Job:
    """The job that runs a candidate."""
    job = lab_job(task, task.command, folder, log, task.budget.timeout, job_env(task, seed))
    if task.source == "log":
        return job
    return replace(job, readable=(*training_data(), *filter(Path.exists, task.access.readable)))


def checks_job(task: Task, folder: Path, log: Path) -> Job | None:
    """The job that may veto a keep, if the task has one."""
    if task.checks is None:
        return None
    return lab_job(task, task.checks.command, folder, log, task.checks.timeout, job_env(task))


def lab_job(
    task: Task, command: str, folder: Path, log: Path, timeout: float, env: Mapping[str, str]
) -> Job:
    """The job of a lab's command, with the limits and paths that the task allows."""
    return Job(
        command,
        folder,
        log,
        timeout,
        env,
        limits=task.limits,
        readable=(*filter(Path.exists, (cache_folder(), *task.access.readable)),),
        network=task.access.network,
        gpu=task.access.gpu,
        env_allowed=tuple(task.env),
    )


def training_data() -> tuple[Path, ...]:
    """The prepared data that a run may read when a judge or a command scores it."""
    found = (
        path
        for depth in ("*", "*/*", "*/*/*")
        for path in cache_folder().glob(f"{depth}/{TRAINING}")
    )
    return tuple(sorted(path for path in found if path.is_dir()))


def cache_folder() -> Path:
    """Where labs keep prepared data: AUTORESEARCH_CACHE, else the user's cache folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("AUTORESEARCH_CACHE") or home / "autoresearch").expanduser()

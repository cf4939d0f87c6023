"""Who else but the candidate produces its number: a judge beside the run, a command after it.

Both start from pristine files, an export of the commit that the study began with, and write their
verdict where the candidate cannot: see docs/judge.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from autoresearch.evaluation.jobs import job_env, lab_job
from autoresearch.evaluation.verdicts import FILE
from autoresearch.executors import Executor, Job
from autoresearch.executors.local import CompanionProcess
from autoresearch.files import write_whole
from autoresearch.lab.task import Score, Task

SOCKET = "judge.sock"
LAST_WORDS = 30.0  # seconds in which a judge must write its verdict once the run has ended


def verdict_file(log: Path) -> Path:
    """Where the verdict on an attempt is written: beside its log, in a folder of the judge's."""
    return log.parent / "judge" / FILE


def judged(job: Job, channel: Path) -> Job:
    """The job of an attempt that talks to a judge, by a socket in the folder `channel`."""
    env = {**job.env, "AUTORESEARCH_SOCKET": str(channel / SOCKET)}
    return replace(job, env=env, readable=(*job.readable, channel))


@contextlib.contextmanager
def judge_beside(
    task: Task, pristine: Path, log: Path, channel: Path, seed: int, sets: str = "validation"
) -> Iterator[None]:
    """A judge that listens while the body runs, and has written its verdict when it is left."""
    assert task.judge is not None
    result = _fresh(verdict_file(log))
    env = job_env(task, seed) | {
        "AUTORESEARCH_SOCKET": str(channel / SOCKET),
        "AUTORESEARCH_RESULT": str(result),
        "AUTORESEARCH_SETS": sets,
    }
    timeout = task.budget.timeout + LAST_WORDS
    job = Job(task.judge.command, pristine, result.with_name("run.log"), timeout, env)
    with CompanionProcess(job) as judge:
        yield
        ended = judge.wait(LAST_WORDS, lambda: _wake(channel / SOCKET))
    if not ended.ok:
        _say(result, "no_verdict", f"the judge ended without a verdict; its log: {job.log}")


def score_afterwards(
    task: Task, executor: Executor, pristine: Path, log: Path, left: Path, seed: int
) -> None:
    """Let the score command read what an attempt left, in a process that has no part in it."""
    assert task.score is not None
    result = _fresh(verdict_file(log))
    if problem := _unfit(task.score, left):
        return _say(result, "no_artefact", problem)
    answer = result.parent / "answer"
    answer.mkdir()
    env = job_env(task, seed) | {
        "AUTORESEARCH_ARTEFACTS": str(left),
        "AUTORESEARCH_RESULT": str(answer / FILE),
    }
    job = lab_job(
        task,
        on_descriptor(task.score.command),
        pristine,
        result.with_name("run.log"),
        task.score.timeout,
        env,
    )
    readable = tuple(filter(Path.exists, (*job.readable, *task.score.readable, left)))
    ended = executor.run(replace(job, readable=readable, writable=(answer,), network=False))
    if not ended.ok:
        told = f"the score command ended by {ended.ending} {ended.exit_code or ''}; its log"
        return _say(result, "no_score", f"{told}: {job.log}")
    if (answer / FILE).is_file() and not (answer / FILE).is_symlink():
        (answer / FILE).replace(result)
    return None


def on_descriptor(command: str) -> str:
    """The command with descriptor 3 open for its verdict: its output is for people."""
    return f'exec 3>"$AUTORESEARCH_RESULT"; sh -c {shlex.quote(command)}'


def _unfit(score: Score, left: Path) -> str | None:
    """What is wrong with what an attempt left; makes it readable for whoever scores it."""
    left.mkdir(parents=True, exist_ok=True)
    for folder, names, files in os.walk(left):
        for name in (*names, *files):
            Path(folder, name).chmod(0o755)
    for name in score.artefacts:
        path = left / name
        if not path.is_file():  # links and devices were left behind
            return f"no regular file {name} was left"
        if path.stat().st_size > score.max_bytes:
            return (
                f"{name} has {path.stat().st_size:,} bytes; at most {score.max_bytes:,} are allowed"
            )
    return None


def _fresh(result: Path) -> Path:
    """The place of a verdict, with nothing in it."""
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    return result


def _wake(path: Path) -> None:
    """A judge to whom nobody came need not wait any longer."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
        folder = os.open(path.parent, os.O_RDONLY)
        names = [str(path), os.path.relpath(path)]
        if Path("/proc/self/fd").is_dir():  # a system call takes about a hundred bytes of a name
            names.append(f"/proc/self/fd/{folder}/{path.name}")
        try:
            sock.setblocking(False)
            sock.connect(min(names, key=len))
        finally:
            os.close(folder)


def _say(result: Path, reason: str, detail: str) -> None:
    write_whole(result, json.dumps({"reason": reason, "detail": detail}))

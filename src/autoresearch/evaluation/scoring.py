"""Numbers that the candidate does not produce: by a judge beside the run or a command after it.

Both start from pristine files, an export of the commit that the study began with, and write the
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
from autoresearch.evaluation.verdicts import FILE, says_why
from autoresearch.executors import Executor, Job
from autoresearch.executors.local import CompanionProcess
from autoresearch.files import write_whole
from autoresearch.lab.task import Score, Task

SOCKET = "judge.sock"
LAST_WORDS = 30.0  # seconds in which a judge must write its verdict once the run has ended


def verdict_file(log: Path) -> Path:
    """The verdict's file of a run: beside its log, in a folder of the judge's."""
    return log.parent / "judge" / FILE


def judged(job: Job, channel: Path) -> Job:
    """The job of a run that talks to a judge, through a socket in the folder `channel`."""
    env = {**job.env, "AUTORESEARCH_SOCKET": str(channel / SOCKET)}
    return replace(job, env=env, readable=(*job.readable, channel))


@contextlib.contextmanager
def judge_beside(
    task: Task, pristine: Path, log: Path, channel: Path, seed: int, sets: str = "validation"
) -> Iterator[None]:
    """A judge listens while the body runs; its verdict is written when the body ends."""
    assert task.judge is not None
    result = _emptied(verdict_file(log))
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
        _write_failure(
            result, "no_verdict", f"the judge ended without a verdict; its log: {job.log}"
        )


def score_afterwards(
    task: Task, executor: Executor, pristine: Path, log: Path, artefacts: Path, seed: int
) -> None:
    """Run the score command on the artefacts of a run, in a process of its own."""
    assert task.score is not None
    result = _emptied(verdict_file(log))
    if problem := _problem_of(task.score, artefacts):
        return _write_failure(result, "no_artefact", problem)
    answer = result.parent / "answer"
    answer.mkdir()
    env = job_env(task, seed) | {
        "AUTORESEARCH_ARTEFACTS": str(artefacts),
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
    readable = tuple(filter(Path.exists, (*job.readable, *task.score.readable, artefacts)))
    ended = executor.run(replace(job, readable=readable, writable=(answer,), network=False))
    if not ended.ok and not says_why(answer / FILE):
        how = f"{ended.ending} {ended.exit_code or ''}"
        detail = f"the score command ended by {how}; its log: {job.log}"
        return _write_failure(result, "no_score", detail)
    if (answer / FILE).is_file() and not (answer / FILE).is_symlink():
        (answer / FILE).replace(result)
    return None


def on_descriptor(command: str) -> str:
    """The command with descriptor 3 open for its verdict; its output is for people."""
    return f'exec 3>"$AUTORESEARCH_RESULT"; sh -c {shlex.quote(command)}'


def _problem_of(score: Score, artefacts: Path) -> str | None:
    """What is wrong with a run's artefacts, or None; makes them readable for the score command."""
    artefacts.mkdir(parents=True, exist_ok=True)
    for folder, names, files in os.walk(artefacts):
        for name in (*names, *files):
            Path(folder, name).chmod(0o755)
    for name in score.artefacts:
        path = artefacts / name
        if not path.is_file():  # links and devices are not kept
            return f"no regular file {name} was left"
        if path.stat().st_size > score.max_bytes:
            return (
                f"{name} has {path.stat().st_size:,} bytes; at most {score.max_bytes:,} are allowed"
            )
    return None


def _emptied(result: Path) -> Path:
    """A verdict's file, made empty: its folder exists, the file does not."""
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    return result


def _wake(path: Path) -> None:
    """Wake a judge whose client never connected."""
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


def _write_failure(result: Path, reason: str, detail: str) -> None:
    write_whole(result, json.dumps({"reason": reason, "detail": detail}))

"""LocalExecutor: this machine, no sandbox; a supervisor process per job kills all of it."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from autoresearch.errors import ExecutorError
from autoresearch.executors import Execution, Job, Level
from autoresearch.executors.processes import KILL_PATIENCE
from autoresearch.executors.wire import encode

_ROOT = str(Path(__file__).parents[2])
_SUPERVISOR = (
    f"import sys; sys.path.append({_ROOT!r}); "
    "from autoresearch.executors.supervisor import main; main()"
)
GRACE = KILL_PATIENCE + 20.0  # seconds after the timeout in which a supervisor must answer


class LocalExecutor:
    """Runs commands as the current user, with nothing between them and the machine."""

    name = "local"

    def run(self, job: Job) -> Execution:
        """Run to the end or the timeout; nothing of it is alive on return."""
        return supervised(job, "none")


def supervised(job: Job, level: Level) -> Execution:
    """Run a job under a supervisor of its own; ExecutorError when there is no telling."""
    with _supervisor() as supervisor:
        answer = _asked(supervisor, job, level)
    return _told(job, supervisor.returncode, answer)


class CompanionProcess:
    """A job that runs while we do something else: `with Beside(job) as it: ...; it.wait(10)`."""

    def __init__(self, job: Job, level: Level = "none") -> None:
        self._job = job
        self._process = _supervisor()
        assert self._process.stdin
        self._process.stdin.write(encode(job, level))
        self._process.stdin.flush()

    def wait(self, max_seconds: float, nudge: Callable[[], None] = lambda: None) -> Execution:
        """Give it some seconds to end, nudging it now and then; then it is killed."""
        assert self._process.stdout
        deadline = time.monotonic() + max_seconds
        while not select.select([self._process.stdout], [], [], 0.05)[0]:
            if time.monotonic() > deadline:
                break
            nudge()
        self._end()
        return _told(self._job, self._process.wait(), self._process.stdout.read())

    def _end(self) -> None:
        """Have all of it killed, if it has not ended."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> CompanionProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


def _supervisor() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _SUPERVISOR],  # no -I: psutil may be a user's own
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches us, and we close its stdin
    )


def _told(job: Job, code: int, answer: bytes) -> Execution:
    """What a supervisor says became of its job."""
    if code != 0 or not answer:
        raise ExecutorError(
            f"The supervisor of `{job.command}` ended with {code} and no "
            f"report, so its processes may still run. Look for them below {job.folder}."
        )
    outcome = json.loads(answer)
    if "error" in outcome:
        raise ExecutorError(
            f"`{job.command}` cannot be run in {job.folder}, with its output in {job.log}: "
            f"{outcome['error']}."
        ) from OSError(outcome["error"])
    return Execution(**outcome)


def _asked(supervisor: subprocess.Popen[bytes], job: Job, level: Level) -> bytes:
    """What a supervisor answers; whatever interrupts us, it has killed everything on return."""
    assert supervisor.stdin and supervisor.stdout
    try:
        supervisor.stdin.write(encode(job, level))
        supervisor.stdin.flush()
        return _answered(supervisor, job)
    except BrokenPipeError:
        return b""
    finally:
        with contextlib.suppress(BrokenPipeError):
            supervisor.stdin.close()  # this ends it, if it has not ended
        supervisor.send_signal(signal.SIGCONT)
        supervisor.wait()


def _answered(supervisor: subprocess.Popen[bytes], job: Job) -> bytes:
    """Its answer, within its time; a job that stops its supervisor only delays it."""
    assert supervisor.stdin and supervisor.stdout
    deadline = time.monotonic() + job.timeout + GRACE
    while not select.select([supervisor.stdout], [], [], 1.0)[0]:
        if job.cancelled is not None and job.cancelled.is_set():
            supervisor.stdin.close()  # it kills everything, and answers
        supervisor.send_signal(signal.SIGCONT)
        if time.monotonic() > deadline:
            supervisor.kill()
    return supervisor.stdout.read()

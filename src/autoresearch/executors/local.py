"""LocalExecutor: runs jobs without a sandbox. A supervisor process per job kills all of it."""

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
from autoresearch.executors.processes import KILL_SECONDS
from autoresearch.executors.wire import encode

_ROOT = str(Path(__file__).parents[2])
_SUPERVISOR = (
    f"import sys; sys.path.append({_ROOT!r}); "
    "from autoresearch.executors.supervisor import main; main()"
)
GRACE = KILL_SECONDS + 20.0  # seconds after the timeout within which a supervisor must report


class LocalExecutor:
    """Runs commands as the current user, without a sandbox."""

    name = "local"

    def run(self, job: Job) -> Execution:
        """Run a job; none of its processes is alive on return."""
        return supervised(job, "none")


def supervised(job: Job, level: Level) -> Execution:
    """Run a job under its own supervisor; ExecutorError when it could not be run."""
    with _supervisor() as supervisor:
        report = _exchange(supervisor, job, level)
    return _parse_report(job, supervisor.returncode, report)


class CompanionProcess:
    """A job that runs in parallel: `with CompanionProcess(job) as it: ...; it.wait(10)`."""

    def __init__(self, job: Job, level: Level = "none") -> None:
        self._job = job
        self._process = _supervisor()
        assert self._process.stdin
        self._process.stdin.write(encode(job, level))
        self._process.stdin.flush()

    def wait(self, max_seconds: float, nudge: Callable[[], None] = lambda: None) -> Execution:
        """Wait for the job to end, calling `nudge` every 50 ms; after `max_seconds` kill it."""
        assert self._process.stdout
        deadline = time.monotonic() + max_seconds
        while not select.select([self._process.stdout], [], [], 0.05)[0]:
            if time.monotonic() > deadline:
                break
            nudge()
        self._end()
        return _parse_report(self._job, self._process.wait(), self._process.stdout.read())

    def _end(self) -> None:
        """Have the supervisor kill the job, if it still runs."""
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
        start_new_session=True,  # Ctrl-C goes to us alone; we then close its stdin
    )


def _parse_report(job: Job, code: int, report: bytes) -> Execution:
    """The Execution in a supervisor's report; ExecutorError when it has none."""
    if code != 0 or not report:
        raise ExecutorError(
            f"The supervisor of `{job.command}` ended with {code} and no "
            f"report, so its processes may still run. Look for them below {job.folder}."
        )
    outcome = json.loads(report)
    if "error" in outcome:
        raise ExecutorError(
            f"`{job.command}` cannot be run in {job.folder}, with its output in {job.log}: "
            f"{outcome['error']}."
        ) from OSError(outcome["error"])
    return Execution(**outcome)


def _exchange(supervisor: subprocess.Popen[bytes], job: Job, level: Level) -> bytes:
    """Send a job to a supervisor and return its report.

    Even when this is interrupted, the supervisor has killed everything before it returns.
    """
    assert supervisor.stdin and supervisor.stdout
    try:
        supervisor.stdin.write(encode(job, level))
        supervisor.stdin.flush()
        return _wait_for_report(supervisor, job)
    except BrokenPipeError:
        return b""
    finally:
        with contextlib.suppress(BrokenPipeError):
            supervisor.stdin.close()  # ends the job, if it still runs
        supervisor.send_signal(signal.SIGCONT)
        supervisor.wait()


def _wait_for_report(supervisor: subprocess.Popen[bytes], job: Job) -> bytes:
    """The report of a supervisor; one that the job has stopped is continued."""
    assert supervisor.stdin and supervisor.stdout
    deadline = time.monotonic() + job.timeout + GRACE
    while not select.select([supervisor.stdout], [], [], 1.0)[0]:
        if job.cancelled is not None and job.cancelled.is_set():
            supervisor.stdin.close()  # it kills everything, and reports
        supervisor.send_signal(signal.SIGCONT)
        if time.monotonic() > deadline:
            supervisor.kill()
    return supervisor.stdout.read()

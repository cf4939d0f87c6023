"""FakeExecutor: calls a function instead of a command, for tests and for trying a strategy."""

from __future__ import annotations

from collections.abc import Callable

from autoresearch.executors import Execution, Job
from autoresearch.executors.bounded_log import BoundedLog

Behaviour = Callable[[Job], tuple[str, int]]


class FakeExecutor:
    """Ends each job with the log text and exit code that a function returns for it."""

    name = "fake"

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.jobs: list[Job] = []

    def run(self, job: Job) -> Execution:
        """Write the function's text to the log; no process is started."""
        self.jobs.append(job)
        text, code = self._behaviour(job)
        log = BoundedLog(job.log)
        log.write(text.encode(errors="replace"))
        log.close()
        return Execution("exit", code, None, seconds=0.0, peak_memory=0)

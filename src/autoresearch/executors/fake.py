"""FakeExecutor: runs a function instead of a command, for tests and for trying a strategy out."""

from __future__ import annotations

from collections.abc import Callable

from autoresearch.executors import Execution, Job

Behaviour = Callable[[Job], tuple[str, int]]


class FakeExecutor:
    """Answers each job with what a function says: the log's text and the exit code."""

    name = "fake"

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.jobs: list[Job] = []

    def run(self, job: Job) -> Execution:
        """Write the log the function made; no process is started."""
        self.jobs.append(job)
        text, code = self._behaviour(job)
        job.log.write_text(text, encoding="utf-8", errors="replace")
        return Execution("exit", code, None, seconds=0.0, peak_memory=0)

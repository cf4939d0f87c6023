"""SandboxExecutor: a job apart from the machine, killed as one; the same supervisor as local."""

from __future__ import annotations

from autoresearch.executors import Execution, Job
from autoresearch.executors.local import supervised


class SandboxExecutor:
    """Runs commands in namespaces of their own, by bubblewrap; see `bubblewrap.py`."""

    name = "sandbox"

    def run(self, job: Job) -> Execution:
        """Run to the end or the timeout; nothing of it is alive on return."""
        return supervised(job, "bubblewrap")


class LandlockExecutor:
    """Runs commands with their rights taken away, by Landlock; see `landlock.py`."""

    name = "landlock"

    def run(self, job: Job) -> Execution:
        """Run to the end or the timeout; on return nothing of it is alive."""
        return supervised(job, "landlock")

"""Executors with a sandbox; they use the same supervisor as LocalExecutor."""

from __future__ import annotations

from autoresearch.executors import Execution, Job
from autoresearch.executors.local import supervised


class SandboxExecutor:
    """Runs commands in their own namespaces, by bubblewrap; see `bubblewrap.py`."""

    name = "sandbox"

    def run(self, job: Job) -> Execution:
        """Run a job; none of its processes is alive on return."""
        return supervised(job, "bubblewrap")


class LandlockExecutor:
    """Runs commands with restricted rights, by Landlock; see `landlock.py`."""

    name = "landlock"

    def run(self, job: Job) -> Execution:
        """Run a job; none of its processes is alive on return."""
        return supervised(job, "landlock")

"""Executors run one command on this machine, and kill every process that it started.

A command's failure is data, an Execution, never an exception. `local.LocalExecutor` uses no
sandbox, `sandbox` has two that do, `probe.make_executor` selects one by policy, and
`fake.FakeExecutor` is the one for tests.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

__all__ = ["Ending", "Execution", "Executor", "Job", "JobLimits", "Level"]

Ending = Literal["exit", "signal", "timeout", "memory", "disk", "processes", "suspended"]
Level = Literal["bubblewrap", "landlock", "none"]


@dataclass(frozen=True)
class JobLimits:
    """What a job may use at most; None: no limit."""

    memory: int | None = None  # bytes of all its processes together; ending "memory"
    processes: int | None = None  # at a time, including a sandbox's own two; ending "processes"
    file_size: int | None = None  # bytes of one file; a larger write fails
    disk: int | None = None  # bytes of its folder and of `writable`; ending "disk"
    open_files: int | None = None  # of one process; a further open fails


@dataclass(frozen=True)
class Job:
    """One command to run."""

    command: str  # given to `sh -c`
    folder: Path  # working directory
    log: Path  # stdout and stderr together; its size is bounded
    timeout: float  # wall-clock seconds; then every process it started is killed
    env: Mapping[str, str] = field(default_factory=dict)  # the whole environment
    # All below but `limits` and `cancelled` is for sandboxes: without one a job sees all that its
    # user sees.
    limits: JobLimits = JobLimits()
    readable: tuple[Path, ...] = ()  # paths it may read, besides `folder` and the system's
    writable: tuple[Path, ...] = ()  # files and folders it may change, besides `folder`
    network: bool = False
    gpu: bool = False
    env_allowed: tuple[str, ...] = ()  # names in `env` that a sandbox lets in, besides the usual
    cancelled: threading.Event | None = None  # once set, the job is killed within about a second


@dataclass(frozen=True)
class Execution:
    """How a job ended, and what it used."""

    ending: Ending
    exit_code: int | None  # None unless ending is "exit"
    signal: int | None  # None unless ending is "signal"
    seconds: float  # wall clock
    peak_memory: int  # bytes, resident, of all its processes together, as sampled
    leftovers: int = 0  # processes killed after the command had ended; not counted in bubblewrap
    sandbox: Level = "none"

    @property
    def ok(self) -> bool:
        """Whether the command exited with 0."""
        return self.ending == "exit" and self.exit_code == 0


class Executor(Protocol):
    """Runs commands."""

    def run(self, job: Job) -> Execution:
        """Run a job until it ends, its timeout, a limit, or its cancellation.

        On return none of its processes is alive. ExecutorError means that the job could not be run
        at all, for example because its folder does not exist.
        """

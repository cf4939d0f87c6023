"""Executor: runs a command in a place and kills all of it. Its failure is data, not an error."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Ending = Literal["exit", "signal", "timeout", "memory", "disk", "processes", "suspended"]
Level = Literal["bubblewrap", "landlock", "none"]


@dataclass(frozen=True)
class JobLimits:
    """What a job may take at most; None: as much as there is."""

    memory: int | None = None  # bytes, of all its processes together; ending "memory"
    processes: int | None = None  # at a time, a sandbox's own two among them; ending "processes"
    file_size: int | None = None  # bytes of one file: the write fails
    disk: int | None = None  # bytes of its folder and of what it may write; ending "disk"
    open_files: int | None = None  # of one process: the open fails


@dataclass(frozen=True)
class Job:
    """One command to run."""

    command: str  # given to `sh -c`
    folder: Path  # working directory
    log: Path  # stdout and stderr together, bounded
    timeout: float  # wall-clock seconds, monotonic; then everything it started is killed
    env: Mapping[str, str] = field(default_factory=dict)  # the whole environment
    # From here on for sandboxes, save for the limits: without one a job sees what its user sees.
    limits: JobLimits = JobLimits()
    readable: tuple[Path, ...] = ()  # files and folders it may read, beside folder and system
    writable: tuple[Path, ...] = ()  # and those it may change
    network: bool = False
    gpu: bool = False
    env_allowed: tuple[str, ...] = ()  # names of env that enter a sandbox beside the usual ones
    cancelled: threading.Event | None = None  # set while it runs: then it is killed, in a second


@dataclass(frozen=True)
class Execution:
    """What became of a job."""

    ending: Ending
    exit_code: int | None  # None unless ending is "exit"
    signal: int | None  # None unless ending is "signal"
    seconds: float  # wall clock
    peak_memory: int  # bytes, resident, of all its processes together, as sampled
    leftovers: int = (
        0  # processes that outlived the command and were killed; in bubblewrap not counted
    )
    sandbox: Level = "none"  # what stood between it and the machine

    @property
    def ok(self) -> bool:
        """Whether the command said it succeeded."""
        return self.ending == "exit" and self.exit_code == 0


class Executor(Protocol):
    """A place where commands run."""

    def run(self, job: Job) -> Execution:
        """Run to the end or the timeout; nothing of it is alive on return; its failure is data."""

"""Executor: runs a command in a place and kills all of it. Its failure is data, not an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Ending = Literal["exit", "signal", "timeout"]


@dataclass(frozen=True)
class Job:
    """One command to run."""

    command: str  # given to `sh -c`
    folder: Path  # working directory
    log: Path  # stdout and stderr together, bounded
    timeout: float  # wall-clock seconds, monotonic; then everything it started is killed
    env: Mapping[str, str] = field(default_factory=dict)  # the whole environment


@dataclass(frozen=True)
class Execution:
    """What became of a job."""

    ending: Ending
    exit_code: int | None  # None unless ending is "exit"
    signal: int | None  # None unless ending is "signal"
    seconds: float  # wall clock
    peak_memory: int  # bytes, resident, of all its processes together, as sampled
    leftovers: int = 0  # processes that outlived the command and were killed

    @property
    def ok(self) -> bool:
        """Whether the command said it succeeded."""
        return self.ending == "exit" and self.exit_code == 0


class Executor(Protocol):
    """A place where commands run."""

    def run(self, job: Job) -> Execution:
        """Run to the end or the timeout; nothing of it is alive on return; its failure is data."""

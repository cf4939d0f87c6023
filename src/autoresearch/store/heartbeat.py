"""The heartbeat: the loop writes which stage it is in, so that others can see a stall."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from autoresearch.files import write_whole

SLACK = 120.0  # seconds beyond its own limit before a stage is called stalled


@dataclass(frozen=True)
class Stage:
    """The beginning of something that takes a while."""

    # "propose" (by the proposer in the note), "ahead" (the same, while a trial runs), "run",
    # "check", "pause", "hold" (before another try) or "wait" (for the process in the note)
    verb: str
    number: int | None  # of the trial; None for a run beside the record
    note: str = ""
    log: Path | None = None
    run: int = 0  # which run of its trial, from 0
    purpose: str = ""  # of a run: screen, noise, confirm, claim, refresh
    of_incumbent: bool = False  # the commit of the last keep runs, or of the tip, not the trial's
    seconds: float = 0.0  # that it may take

    @property
    def who(self) -> str:
        """The trial, for people."""
        return "An earlier commit" if self.number is None else f"#{self.number}"


@dataclass(frozen=True)
class Heartbeat:
    """One stage of one trial, as it began."""

    pid: int
    verb: str  # of a stage, or "hold" during a pause before another try
    trial: int | None  # None: a run beside the record
    began: float  # seconds since the epoch
    limit: float  # seconds that the stage may take

    @property
    def doing(self) -> str:
        """The stage, for people: `run of #7`."""
        verb = "wait before a try" if self.verb == "hold" else self.verb
        return f"{verb} of {'an earlier commit' if self.trial is None else f'#{self.trial}'}"

    @property
    def stalled(self) -> bool:
        """Whether it is far beyond its limit."""
        return time.time() > self.began + self.limit + SLACK


def beat(path: Path, verb: str, trial: int | None, limit: float) -> None:
    """Write that a stage begins."""
    now = Heartbeat(os.getpid(), verb, trial, time.time(), limit)
    write_whole(path, json.dumps(asdict(now)) + "\n", durable=False)


def last_beat(path: Path) -> Heartbeat | None:
    """The last heartbeat, or None."""
    try:
        return Heartbeat(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None

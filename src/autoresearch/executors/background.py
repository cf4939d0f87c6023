"""One command in the background: it is files in a folder, so it outlives whoever started it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from autoresearch.files import write_whole

_OUTPUT = 1 << 20  # characters of what it printed that are read


@dataclass(frozen=True)
class Started:
    """Which process it is, and what for."""

    pid: int
    born: float  # by the machine's own account: a number used again is another process
    at: float  # seconds since the epoch
    note: str


class Background:
    """The last command that was started in a folder; one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def start(
        self, words: Sequence[str], note: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> Started | None:
        """Start it in a session of its own; None when the one before it is still running."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self.running():
                return None
            with self._written("output") as output, self._written("errors") as errors:
                self._child = subprocess.Popen(
                    words,
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                )
            pid = self._child.pid
            started = Started(pid, psutil.Process(pid).create_time(), time.time(), note)
            write_whole(self.folder / "started.json", json.dumps(asdict(started)) + "\n")
            return started

    def last(self) -> Started | None:
        """What was started last, by this process or by one before it."""
        try:
            return Started(**json.loads((self.folder / "started.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def running(self) -> bool:
        """Whether it has not ended yet."""
        if self._child is not None:
            self._child.poll()  # ours would otherwise stay, as a zombie
        started = self.last()
        if started is None:
            return False
        try:
            process = psutil.Process(started.pid)
            same = abs(process.create_time() - started.born) < 1.0
            return same and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def output(self) -> str:
        """What it printed."""
        return self._read("output")

    def errors(self) -> str:
        """What it printed for people."""
        return self._read("errors")

    def _read(self, name: str) -> str:
        try:
            with (self.folder / name).open(encoding="utf-8", errors="replace") as stream:
                return stream.read(_OUTPUT)
        except FileNotFoundError:
            return ""

    @contextlib.contextmanager
    def _written(self, name: str) -> Iterator[int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(self.folder / name, flags, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder: of two that start at once one is second."""
        with (self.folder / "lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

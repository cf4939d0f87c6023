"""One command in the background. Its state is files in a folder, so it outlives its starter."""

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

_OUTPUT = 1 << 20  # characters of its output that are read at most


@dataclass(frozen=True)
class Started:
    """A process that was started, and its purpose."""

    pid: int
    born: float  # creation time, in seconds: tells it from a later process with the same pid
    at: float  # when it was started, seconds since the epoch
    note: str


class Background:
    """The command of one folder; only one runs at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def start(
        self, words: Sequence[str], note: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> Started | None:
        """Start a command in its own session; None when the last one still runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.running():
                return None
            with self._truncated("output") as output, self._truncated("errors") as errors:
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
        """What was started last, by this process or an earlier one; None: nothing."""
        try:
            return Started(**json.loads((self.folder / "started.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def running(self) -> bool:
        """Whether the last command still runs."""
        if self._child is not None:
            self._child.poll()  # reap it, if it is our child
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
        """Its standard output."""
        return self._read("output")

    def errors(self) -> str:
        """Its standard error."""
        return self._read("errors")

    def _read(self, name: str) -> str:
        try:
            with (self.folder / name).open(encoding="utf-8", errors="replace") as stream:
                return stream.read(_OUTPUT)
        except FileNotFoundError:
            return ""

    @contextlib.contextmanager
    def _truncated(self, name: str) -> Iterator[int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(self.folder / name, flags, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock, so that two starters do not both start."""
        with (self.folder / "lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

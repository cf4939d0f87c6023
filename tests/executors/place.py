"""A place where the tests of executors run their jobs, with checks of what is left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from autoresearch.executors import Execution, Executor, Job
from autoresearch.executors.landlock import abi
from autoresearch.executors.local import LocalExecutor
from autoresearch.executors.probe import probe
from autoresearch.executors.sandbox import LandlockExecutor, SandboxExecutor

LONG = 60.0  # seconds: a test that waits so long has failed
PLAIN_PYTHON = shutil.which("python3", path="/usr/bin:/bin")  # one that every user can start


class Place:
    """A folder for jobs, with secrets and a log beside it; its processes carry a mark."""

    def __init__(self, home: Path, executor: Executor, python: str) -> None:
        self.executor, self.python = executor, python
        self.folder, self.log, self.outside = home / "job", home / "log", home / "outside"
        self.folder.mkdir()
        self.outside.mkdir()
        (self.outside / "secret").write_text("the answers")
        self.mark = uuid.uuid4().hex
        self.level = "none"  # of the sandbox

    def job(self, command: str, timeout: float = LONG, **fields: object) -> Job:
        """A job in this place."""
        env = {"PATH": os.environ["PATH"], "AUTORESEARCH_MARK": self.mark}
        job = Job(command, self.folder, self.log, timeout, env)
        return replace(job, **fields)  # type: ignore[arg-type]

    def run(self, command: str, timeout: float = LONG, **fields: object) -> Execution:
        """Run a command; fails when anything of it is alive, or anything outside has changed."""
        before = look(self.outside)
        ended = self.executor.run(self.job(command, timeout, **fields))
        assert self.alive() == []
        assert look(self.outside) == before
        return ended

    def python_run(self, text: str, timeout: float = LONG, **fields: object) -> Execution:
        """Run a Python program."""
        return self.run(self.program(text), timeout, **fields)

    def program(self, text: str) -> str:
        """The command that runs a Python program."""
        path = self.folder / f"program-{uuid.uuid4().hex[:8]}.py"
        path.write_text(
            "import os\nopen('where', 'w').write(os.readlink('/proc/self/ns/pid'))\n" + text
        )
        return f"exec '{self.python}' -I -S {path.name}"

    def said(self) -> list[str]:
        """The log's lines."""
        return self.log.read_text(errors="replace").splitlines()

    def alive(self) -> list[int]:
        """Processes with the mark, or, if they threw it away, with a foot in the folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if self._is_mine(process):
                    found.append(process.pid)
        return found

    def _is_mine(self, process: psutil.Process) -> bool:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process.pid}/cwd").readlink().is_relative_to(self.folder):
                return True
        return process.environ().get("AUTORESEARCH_MARK") == self.mark

    def clear(self) -> None:
        """Kill what a failed test left."""
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def look(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All below a folder: modes, owners, contents."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        stat = path.lstat()
        found[str(path)] = stat.st_mode, stat.st_uid, path.read_bytes() if path.is_file() else b""
    return found


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, f"still not so after {LONG:.0f} s: {what}"
        time.sleep(0.01)


def local_place(home: Path) -> Place:
    """A place without a sandbox."""
    return Place(home, LocalExecutor(), sys.executable)


def bubblewrap_place(home: Path) -> Place:
    """A place with a bubblewrap sandbox, or a skip that says why there is none."""
    if (found := probe()).level != "bubblewrap":
        pytest.skip(f"no bubblewrap here: {found.why_not_higher}")
    return Place(home, SandboxExecutor(), sys.executable)


@contextlib.contextmanager
def landlock_place() -> Iterator[Place]:
    """A place under Landlock, in a folder that every user can reach."""
    if sys.platform != "linux" or not abi():
        pytest.skip("this kernel has no Landlock")
    if PLAIN_PYTHON is None:
        pytest.skip("no Python that every user can start")
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        place = Place(Path(home), LandlockExecutor(), PLAIN_PYTHON)
        yield place
        place.clear()

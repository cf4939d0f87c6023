"""Runs one command, owns its deadline, and leaves none of its processes alive.

A program of its own, started once per job: `python -I supervisor.py`. The job comes as one line of
JSON on stdin, the outcome leaves as one line of JSON on stdout. When stdin closes (the harness is
gone, or wants an end) everything is killed. As a child subreaper (Linux) it inherits even processes
that detached themselves; elsewhere those that left the process tree can escape.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

LOG_HEAD = 16 * 2**20  # bytes of a log that are written as they come
LOG_TAIL = 4 * 2**20  # bytes of the rest that are kept, from its end
SAMPLE_EVERY = 0.5  # seconds between looks at memory
KILL_PATIENCE = 10.0  # seconds to sweep up processes that keep forking
_PR_SET_CHILD_SUBREAPER = 36


class BoundedLog:
    """Writes a stream to a file: its head as it comes, of the rest only the tail."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._room = LOG_HEAD
        self._tail: collections.deque[bytes] = collections.deque()
        self._held = 0
        self._dropped = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        head, rest = chunk[: self._room], chunk[self._room :]
        self._file.write(head)
        self._room -= len(head)
        if rest:
            self._tail.append(rest)
            self._held += len(rest)
        while self._held - len(self._tail[0] if self._tail else b"") >= LOG_TAIL:
            gone = len(self._tail.popleft())
            self._held -= gone
            self._dropped += gone

    def close(self) -> None:
        """Append the tail, after a line that says how much was left out."""
        if self._dropped:
            self._file.write(b"\n[autoresearch: %d bytes of the log left out]\n" % self._dropped)
        for chunk in self._tail:
            self._file.write(chunk)
        os.fsync(self._file.fileno())
        self._file.close()


def supervise(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job to its end or deadline; the outcome has Execution's fields."""
    become_subreaper()
    began = time.monotonic()
    log = BoundedLog(Path(job["log"]))
    child = subprocess.Popen(
        ["/bin/sh", "-c", job["command"]],
        cwd=job["folder"],
        env=job["env"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    peak, timed_out = _watch(child, log, began + job["timeout"])
    leftovers = kill_descendants(child)
    _drain(child, log)
    log.close()
    code = child.returncode
    return {
        "ending": "timeout" if timed_out else "exit" if code >= 0 else "signal",
        "exit_code": code if code >= 0 and not timed_out else None,
        "signal": -code if code < 0 and not timed_out else None,
        "seconds": time.monotonic() - began,
        "peak_memory": peak,
        "leftovers": leftovers,
    }


def become_subreaper() -> None:
    """Make orphans of our descendants our children, where the kernel can (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants(child: subprocess.Popen[bytes]) -> int:
    """Kill every process below us until none is left; how many outlived the command."""
    finished = child.poll() is not None
    deadline = time.monotonic() + KILL_PATIENCE
    seen: set[int] = set()
    while alive := _descendants():
        for kill in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: none forks while we kill
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(kill)
        seen |= {process.pid for process in alive}
        _reap(child)
        if time.monotonic() > deadline:
            break
        time.sleep(0.002)
    _reap(child)
    return len(seen - {child.pid}) if finished else 0


def _watch(child: subprocess.Popen[bytes], log: BoundedLog, deadline: float) -> tuple[int, bool]:
    """Pump output until the child ends; peak bytes of memory, and whether the deadline came."""
    assert child.stdout is not None
    peak, next_sample = 0, 0.0
    with selectors.DefaultSelector() as selector:
        for stream in (child.stdout, sys.stdin):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        while child.poll() is None:
            now = time.monotonic()
            if now >= deadline:
                return peak, True
            if now >= next_sample:
                peak = max(peak, _memory())
                next_sample = now + SAMPLE_EVERY
            for key, _ in selector.select(min(0.02, deadline - now)):
                chunk = _read(key.fd)
                if key.fileobj is sys.stdin and chunk == b"":
                    return peak, False  # the harness is gone or wants an end
                if chunk == b"":
                    selector.unregister(key.fileobj)
                elif chunk and key.fileobj is not sys.stdin:
                    log.write(chunk)
    return peak, False


def _drain(child: subprocess.Popen[bytes], log: BoundedLog) -> None:
    assert child.stdout is not None
    while chunk := _read(child.stdout.fileno()):
        log.write(chunk)


def _read(descriptor: int) -> bytes | None:
    """The bytes at hand; b"" at the end of the stream, None when there are none yet."""
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return None


def _memory() -> int:
    total = 0
    for process in _descendants():
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _descendants() -> list[psutil.Process]:
    alive = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


def _reap(child: subprocess.Popen[bytes]) -> None:
    """Collect the dead, the child first so that its exit code is not lost."""
    if child.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.05)
    with contextlib.suppress(ChildProcessError):
        while child.returncode is not None and os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Read a job, run it, say what became of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
        job = json.loads(stdin.readline())  # unbuffered: the pipe stays ours to watch
    answer = json.dumps(supervise(job)).encode() + b"\n"
    with contextlib.suppress(BrokenPipeError):  # the harness may be gone; the work is done
        os.write(sys.stdout.fileno(), answer)


if __name__ == "__main__":
    main()

"""Runs one command, owns its deadline, and leaves none of its processes alive.

A process of its own, started once per job. The job comes as one line of JSON on stdin, the outcome
leaves as one line of JSON on stdout. When stdin closes (the harness is gone, or wants an end)
everything is killed. As a child subreaper (Linux) it inherits even processes that detached
themselves; elsewhere those that left the process tree can escape.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from autoresearch.executors import Ending, Job, Level, leftover
from autoresearch.executors.bounded_log import LOG_HEAD, LOG_TAIL, BoundedLog
from autoresearch.executors.cgroup import MemoryGroup, memory_group
from autoresearch.executors.launch import Launch, plain, start
from autoresearch.executors.processes import become_subreaper, kill_descendants, reap
from autoresearch.executors.watchdog import Watchdog
from autoresearch.executors.wire import decode

__all__ = ["LOG_HEAD", "LOG_TAIL", "main"]


def supervise(job: Job, level: Level) -> dict[str, Any]:
    """Run a job to its end or deadline; the outcome has Execution's fields."""
    become_subreaper()
    began = time.monotonic()
    log = BoundedLog(job.log)
    launch = _launcher(level)(job)
    group = memory_group(job.limits.memory)
    watchdog = Watchdog(job.limits, job.folder, *job.writable, group=group)
    child = start(launch if group is None else _within(group, launch))
    try:
        leftover.note(job.log, child.pid)
        launch.settle(child)
        stopped = _watch(child, log, began + job.timeout, watchdog)
        finished = child.returncode is not None
    finally:  # also when the log cannot be written
        killed = kill_descendants(child)
        leftover.forget(job.log)
    _drain(child, log)
    log.close()
    stopped = watchdog.afterwards() or stopped
    if group is not None:
        group.remove()
    return {
        **_ended(child.returncode, stopped, launch),
        "seconds": time.monotonic() - began,
        "peak_memory": watchdog.peak_memory,
        "leftovers": killed if finished and level != "bubblewrap" else 0,  # there: its own
        "sandbox": level,
    }


def _within(group: MemoryGroup, launch: Launch) -> Launch:
    def confine() -> None:
        group.join()
        launch.confine()

    return replace(launch, confine=confine)


def _launcher(level: Level) -> Callable[[Job], Launch]:
    """Imported when needed: each is for Linux only."""
    launcher = plain
    if level == "bubblewrap":
        from autoresearch.executors.bubblewrap import bubblewrapped as launcher
    elif level == "landlock":
        from autoresearch.executors.landlock import landlocked as launcher
    return launcher


def _ended(code: int, stopped: Ending | None, launch: Launch) -> dict[str, Any]:
    """How it ended, with what."""
    if stopped:
        return {"ending": stopped, "exit_code": None, "signal": None}
    code = launch.check(code)
    if code < 0:
        return {"ending": "signal", "exit_code": None, "signal": -code}
    return {"ending": "exit", "exit_code": code, "signal": None}


def _watch(
    child: subprocess.Popen[bytes], log: BoundedLog, deadline: float, watchdog: Watchdog
) -> Ending | None:
    """Pump output until the child ends; why it has to be killed, if it has to."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        for stream in (child.stdout, sys.stdin):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        while reap(child) and child.returncode is None:
            now = time.monotonic()
            if now >= deadline:
                return "timeout"
            if passed := watchdog.look(now):
                return passed
            for key, _ in selector.select(min(0.02, deadline - now)):
                chunk = _read(key.fd)
                if key.fileobj is sys.stdin and chunk == b"":
                    return None  # the harness is gone or wants an end
                if chunk == b"":
                    selector.unregister(key.fileobj)
                elif chunk and key.fileobj is not sys.stdin:
                    log.write(chunk)
    return None


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


def main() -> None:
    """Read a job, run it, say what became of it."""
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, lambda *_: None)  # only the harness ends us; not inherited, as SIG_IGN
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a harness may ignore its children; we may not
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()  # unbuffered: the pipe stays ours to watch
    try:
        outcome = supervise(*decode(line))
    except (OSError, ValueError) as error:
        outcome = {"error": str(error)}
    answer = json.dumps(outcome).encode() + b"\n"
    with contextlib.suppress(BrokenPipeError):  # the harness may be gone; the work is done
        os.write(sys.stdout.fileno(), answer)

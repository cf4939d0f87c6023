"""The supervisor: a process per job that runs the command and kills all of its processes.

It reads the job as one line of JSON from stdin, and writes the report as one line of JSON to
stdout. When stdin closes, because the harness ended or wants the job to end, it kills everything.
As a child subreaper (Linux) it also inherits processes that detached themselves; on other systems
those that left the process tree can escape.
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
from autoresearch.executors.bounded_log import BoundedLog
from autoresearch.executors.cgroup import MemoryGroup, memory_group
from autoresearch.executors.launch import Launch, plain, start
from autoresearch.executors.processes import become_subreaper, kill_descendants, reap
from autoresearch.executors.watchdog import Watchdog
from autoresearch.executors.wire import decode


def supervise(job: Job, level: Level) -> dict[str, Any]:
    """Run a job to its end or deadline; the report has Execution's fields."""
    become_subreaper()
    began = time.monotonic()
    log = BoundedLog(job.log)
    launch = _launcher(level)(job)
    group = memory_group(job.limits.memory)
    watchdog = Watchdog(job.limits, job.folder, *job.writable, group=group)
    child = start(launch if group is None else _in_group(group, launch))
    try:
        leftover.write_pids(job.log, child.pid)
        launch.settle(child)
        stopped = _watch(child, log, began + job.timeout, watchdog)
        finished = child.returncode is not None
    finally:  # also when the log cannot be written
        killed = kill_descendants(child)
        leftover.remove_pids(job.log)
    _drain(child, log)
    log.close()
    stopped = watchdog.final_ending() or stopped
    if group is not None:
        group.remove()
    return {
        **_ending(child.returncode, stopped, launch),
        "seconds": time.monotonic() - began,
        "peak_memory": watchdog.peak_memory,
        "leftovers": killed
        if finished and level != "bubblewrap"
        else 0,  # there it includes its own
        "sandbox": level,
    }


def _in_group(group: MemoryGroup, launch: Launch) -> Launch:
    """The launch, with the child joining a control group first."""

    def confine() -> None:
        group.join()
        launch.confine()

    return replace(launch, confine=confine)


def _launcher(level: Level) -> Callable[[Job], Launch]:
    """The function that prepares a launch; the sandboxes' modules exist on Linux only."""
    launcher = plain
    if level == "bubblewrap":
        from autoresearch.executors.bubblewrap import bubblewrapped as launcher
    elif level == "landlock":
        from autoresearch.executors.landlock import landlocked as launcher
    return launcher


def _ending(code: int, stopped: Ending | None, launch: Launch) -> dict[str, Any]:
    """The ending, exit code and signal of a report."""
    if stopped:
        return {"ending": stopped, "exit_code": None, "signal": None}
    code = launch.check(code)
    if code < 0:
        return {"ending": "signal", "exit_code": None, "signal": -code}
    return {"ending": "exit", "exit_code": code, "signal": None}


def _watch(
    child: subprocess.Popen[bytes], log: BoundedLog, deadline: float, watchdog: Watchdog
) -> Ending | None:
    """Copy output to the log until the child ends; the limit it passed, or None."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        for stream in (child.stdout, sys.stdin):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        while reap(child) and child.returncode is None:
            now = time.monotonic()
            if now >= deadline:
                return "timeout"
            if passed := watchdog.check(now):
                return passed
            for key, _ in selector.select(min(0.02, deadline - now)):
                chunk = _read(key.fd)
                if key.fileobj is sys.stdin and chunk == b"":
                    return None  # the harness ended, or wants the job to end
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
    """Available bytes; b"" at the end of the stream, None when there are none yet."""
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return None


def main() -> None:
    """Read a job, run it, write the report."""
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # only the harness ends us; unlike SIG_IGN not inherited
        signal.signal(stop, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a harness may ignore SIGCHLD; we need it
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()  # unbuffered, so that the selector sees the rest
    try:
        outcome = supervise(*decode(line))
    except (OSError, ValueError) as error:
        outcome = {"error": str(error)}
    report = json.dumps(outcome).encode() + b"\n"
    with contextlib.suppress(BrokenPipeError):  # the harness may have ended
        os.write(sys.stdout.fileno(), report)

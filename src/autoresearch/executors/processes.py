"""Processes below this one: found, weighed, killed. By /proc on Linux, by psutil elsewhere."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LINUX = sys.platform == "linux"
KILL_PATIENCE = 10.0  # seconds to sweep up processes that keep forking


def become_subreaper() -> None:
    """Make orphans of our descendants our children, where the kernel can (Linux)."""
    if LINUX:
        from autoresearch.executors.linux import PR_SET_CHILD_SUBREAPER, prctl

        prctl(PR_SET_CHILD_SUBREAPER, 1)


def kill_descendants(child: subprocess.Popen[bytes]) -> int:
    """Kill every process below us until none is left; how many had to be killed.

    A subreaper without a child has no descendant either, and `waitpid` cannot be raced: a chain
    of processes that each fork and end at once is invisible to any listing, but not to it.
    """
    deadline = time.monotonic() + KILL_PATIENCE
    reap(child)  # those that ended by themselves do not count
    ended: list[int] = []
    while reap(child, ended):
        if time.monotonic() > deadline:
            raise OSError(f"its processes cannot be killed: {[pid for pid, _ in _children()]}")
        for pid, group in _children():
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)  # at one stroke: none of it forks meanwhile
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)
    return ended.count(-signal.SIGKILL) or min(len(ended), 1)  # one may end as it is killed


def reap(child: subprocess.Popen[bytes], ended: list[int] | None = None) -> bool:
    """Collect the dead: the child's exit code, and those of others; whether any child is left."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(found[1])
            if found[0] == child.pid:
                child.returncode = code
            elif ended is not None:
                ended.append(code)
        return True
    return False


def descendants(pid: int) -> Iterator[int]:
    """Process ids below a process, parents first; what forks meanwhile may be missed."""
    if not LINUX:
        yield from (process.pid for process in _psutil().Process(pid).children(recursive=True))
        return
    waiting = [pid]
    while waiting:
        found = list(_offspring(waiting.pop()))
        yield from found
        waiting += found


def resident(pid: int) -> int:
    """Bytes of memory that a process holds, shared ones included; 0 when it is gone."""
    if LINUX:
        with contextlib.suppress(OSError, IndexError):
            pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
            return int(pages) * resource.getpagesize()
        return 0
    with contextlib.suppress(_psutil().Error):
        return int(_psutil().Process(pid).memory_info().rss)
    return 0


def own_share(pid: int) -> int:
    """Bytes that a process holds, each shared one divided by its holders; else `resident`."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return resident(pid)


def started(pid: int) -> str | None:
    """When a process started, in the kernel's own count; None when there is no such process."""
    if LINUX:
        stat = _stat(pid)
        return stat[19].decode() if stat and stat[0] != b"Z" else None
    with contextlib.suppress(_psutil().Error):
        return str(_psutil().Process(pid).create_time())
    return None


def boot() -> str:
    """Which start of this machine it is: process ids of another one mean nothing."""
    if LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return str(_psutil().boot_time())


def kill_exactly(pid: int, start: str) -> bool:
    """Kill a process if it is the one that started then; a process id used again is spared."""
    try:
        handle = os.pidfd_open(pid) if sys.platform == "linux" else -1
    except OSError:
        return False
    try:  # the handle names one process for ever: what is checked now is what is killed
        if started(pid) != start:
            return False
        if sys.platform == "linux":
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)


def _offspring(pid: int) -> Iterator[int]:
    """A process's children, by all of its threads."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (thread / "children").read_bytes().split())


def _children() -> Iterator[tuple[int, int]]:
    """Process id and group of our children; elsewhere than on Linux, of all descendants.

    All of these groups were made below us: the command began in a session of its own.
    """
    if LINUX:
        for name in reversed(os.listdir("/proc")):  # noqa: PTH208 - the newest first, and fast
            stat = _stat(int(name)) if name.isdecimal() else []
            if stat and int(stat[1]) == os.getpid():
                yield int(name), int(stat[2])
        return
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            yield pid, os.getpgid(pid)


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on; none when the process is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return []


def _psutil() -> Any:
    import psutil  # where there is no /proc

    return psutil


def machine_load() -> float | None:
    """Processes that want to run, averaged over a minute; None where it is not counted."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None

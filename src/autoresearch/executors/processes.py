"""Finds, measures and kills descendant processes, by /proc on Linux and by psutil elsewhere."""

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
KILL_SECONDS = 10.0  # to kill processes that keep forking


def become_subreaper() -> None:
    """Have orphaned descendants become our children (Linux only)."""
    if LINUX:
        from autoresearch.executors.linux import PR_SET_CHILD_SUBREAPER, prctl

        prctl(PR_SET_CHILD_SUBREAPER, 1)


def kill_descendants(child: subprocess.Popen[bytes]) -> int:
    """Kill every descendant until none is left; return how many were killed.

    The end is decided by `waitpid`, not by listing: a chain of processes that each fork and exit
    at once escapes any listing, but a subreaper without children has no descendants.
    """
    deadline = time.monotonic() + KILL_SECONDS
    reap(child)  # processes that ended by themselves do not count
    ended: list[int] = []
    while reap(child, ended):
        if time.monotonic() > deadline:
            raise OSError(f"its processes cannot be killed: {[pid for pid, _ in _children()]}")
        for pid, group in _children():
            with contextlib.suppress(OSError):
                # all at once, so that none of the group forks meanwhile
                os.killpg(group, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)
    # a process may exit while it is killed
    return ended.count(-signal.SIGKILL) or min(len(ended), 1)


def reap(child: subprocess.Popen[bytes], ended: list[int] | None = None) -> bool:
    """Reap ended children, collecting their exit codes; return whether any child is left."""
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
    """Pids of a process's descendants, parents first; new ones may be missed."""
    if not LINUX:
        yield from (process.pid for process in _psutil().Process(pid).children(recursive=True))
        return
    waiting = [pid]
    while waiting:
        found = list(_offspring(waiting.pop()))
        yield from found
        waiting += found


def resident(pid: int) -> int:
    """Bytes of resident memory of a process, shared memory included; 0 when it has ended."""
    if LINUX:
        with contextlib.suppress(OSError, IndexError):
            pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
            return int(pages) * resource.getpagesize()
        return 0
    with contextlib.suppress(_psutil().Error):
        return int(_psutil().Process(pid).memory_info().rss)
    return 0


def own_share(pid: int) -> int:
    """Bytes of memory of a process, shared memory divided by its users; else `resident`."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return resident(pid)


def started(pid: int) -> str | None:
    """Start time of a process in the kernel's units; None when it has ended."""
    if LINUX:
        stat = _stat(pid)
        return stat[19].decode() if stat and stat[0] != b"Z" else None
    with contextlib.suppress(_psutil().Error):
        return str(_psutil().Process(pid).create_time())
    return None


def boot() -> str:
    """Identifier of this boot of the machine: pids of another boot mean nothing."""
    if LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return str(_psutil().boot_time())


def kill_exactly(pid: int, start: str) -> bool:
    """Kill a process by pid and start time; return False when the pid is another process's."""
    try:
        handle = os.pidfd_open(pid) if sys.platform == "linux" else -1
    except OSError:
        return False
    try:  # the handle stays with one process, so the checked one is the killed one
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
    """Pids of a process's children, from all of its threads."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                yield from map(int, (thread / "children").read_bytes().split())


def _children() -> Iterator[tuple[int, int]]:
    """Pid and process group of our children; outside Linux, of all descendants.

    None is in our own group, because the command started in its own session.
    """
    if LINUX:
        for name in reversed(os.listdir("/proc")):  # noqa: PTH208 - newest first, and fast
            stat = _stat(int(name)) if name.isdecimal() else []
            if stat and int(stat[1]) == os.getpid():
                yield int(name), int(stat[2])
        return
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            yield pid, os.getpgid(pid)


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on; empty when the process has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return []


def _psutil() -> Any:
    import psutil  # only where there is no /proc

    return psutil


def machine_load() -> float | None:
    """Load average over one minute; None where the system has none."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None

"""Checks a running job's memory, processes and disk, and whether the machine was suspended."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from autoresearch.executors import Ending, JobLimits
from autoresearch.executors.cgroup import MemoryGroup
from autoresearch.executors.processes import descendants, own_share, resident

EVERY = 0.2  # seconds between checks
DISK_EVERY = 1.0  # seconds between two counts of the folders
DISK_STEP = 2_000  # entries counted per check: a folder of millions must not delay the deadline
ASLEEP = 1.0  # seconds that the clocks may differ before it counts as a suspend
SEEN = 20_000  # processes listed per check
TOO_DEEP = 1 << 62  # bytes counted for a folder whose path is too long for any call


class Watchdog:
    """Reports when a job passes a limit; records its peak memory."""

    def __init__(self, limits: JobLimits, *folders: Path, group: MemoryGroup | None = None) -> None:
        self.peak_memory = 0
        self._limits = limits
        self._group = group
        self._disk = DiskMeter(*folders)
        self._next = 0.0
        self._suspended_before = suspended_seconds()

    def check(self, now: float) -> Ending | None:
        """The limit that is passed, or None; checks only once in EVERY seconds."""
        if now < self._next:
            return None
        self._next = now + EVERY
        if self.suspended():
            return "suspended"
        limits, pids = self._limits, list(islice(descendants(os.getpid()), SEEN))
        if limits.processes is not None and len(pids) > limits.processes:
            return "processes"
        if self._too_heavy(pids) or self._oom_killed():
            return "memory"
        if limits.disk is not None and self._disk.count(now) > limits.disk:
            return "disk"
        return None

    def final_ending(self) -> Ending | None:
        """The cause of the job's end that overrides its exit code, or None."""
        if self.suspended():
            return "suspended"
        return "memory" if self._oom_killed() else None

    def suspended(self) -> bool:
        """Whether the machine was suspended since this watchdog was made."""
        return suspended_seconds() - self._suspended_before > ASLEEP

    def _too_heavy(self, pids: list[int]) -> bool:
        """Whether the memory limit is passed. Shared memory counts once, measured only on need."""
        total, most = sum(map(resident, pids)), self._limits.memory
        self.peak_memory = max(self.peak_memory, total)
        return most is not None and total > most and sum(map(own_share, pids)) > most

    def _oom_killed(self) -> bool:
        """Whether the kernel killed at the memory limit; then the peak is the limit."""
        killed = self._group is not None and self._group.killed()
        if killed and self._limits.memory is not None:
            self.peak_memory = max(self.peak_memory, self._limits.memory)
        return killed


class DiskMeter:
    """Counts the bytes below folders repeatedly, some entries per call."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._last = 0
        self._bytes = 0
        self._walk: Iterator[int] | None = None
        self._next = 0.0

    def count(self, now: float) -> int:
        """Bytes known so far: the current count, or the last complete one if that is larger."""
        if self._walk is None and now >= self._next:
            self._walk, self._bytes = _sizes(self._folders), 0
        if self._walk is not None:
            sizes = list(islice(self._walk, DISK_STEP))
            self._bytes += sum(sizes)
            if len(sizes) < DISK_STEP:
                self._walk, self._last, self._next = None, self._bytes, now + DISK_EVERY
        return max(self._last, self._bytes)


def suspended_seconds() -> float:
    """Seconds that this machine was suspended since its boot; 0 where that is unknown."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boottime is None else time.clock_gettime(boottime) - time.monotonic()


def _sizes(folders: Iterable[Path]) -> Iterator[int]:
    """Bytes on disk of each entry below folders; links are not followed."""
    waiting = [str(folder) for folder in folders]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield _size(entry)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # deeply nested, to hide something
                yield TOO_DEEP


def _size(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(OSError):
        return entry.stat(follow_symlinks=False).st_blocks * 512
    return 0

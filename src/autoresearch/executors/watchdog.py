"""What a running job takes, looked at now and then: memory, processes, disk, and sleep."""

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

EVERY = 0.2  # seconds between looks
DISK_EVERY = 1.0  # seconds between the end of one count of the folder and the next
DISK_STEP = 2_000  # entries counted per look: a folder of millions must not delay the deadline
ASLEEP = 1.0  # seconds that the clocks may drift apart before it counts as a suspend
SEEN = 20_000  # processes listed per look
TOO_DEEP = 1 << 62  # bytes that a folder counts for whose path no call can name


class Watchdog:
    """Says when a job takes more than it may; remembers the most memory it held."""

    def __init__(self, limits: JobLimits, *folders: Path, group: MemoryGroup | None = None) -> None:
        self.peak_memory = 0
        self._limits = limits
        self._group = group
        self._disk = DiskMeter(*folders)
        self._next = 0.0
        self._asleep = slept()

    def look(self, now: float) -> Ending | None:
        """Which limit is passed, if any; does nothing when it is too soon."""
        if now < self._next:
            return None
        self._next = now + EVERY
        if self.suspended():
            return "suspended"
        limits, pids = self._limits, list(islice(descendants(os.getpid()), SEEN))
        if limits.processes is not None and len(pids) > limits.processes:
            return "processes"
        if self._too_heavy(pids) or self._refused():
            return "memory"
        if limits.disk is not None and self._disk.look(now) > limits.disk:
            return "disk"
        return None

    def afterwards(self) -> Ending | None:
        """What the job's end was due to, whatever the job itself makes of it."""
        if self.suspended():
            return "suspended"
        return "memory" if self._refused() else None

    def suspended(self) -> bool:
        """Whether the machine slept since this watchdog was made."""
        return slept() - self._asleep > ASLEEP

    def _too_heavy(self, pids: list[int]) -> bool:
        """Memory shared between processes counts once, but is only told apart when it matters."""
        total, most = sum(map(resident, pids)), self._limits.memory
        self.peak_memory = max(self.peak_memory, total)
        return most is not None and total > most and sum(map(own_share, pids)) > most

    def _refused(self) -> bool:
        """Whether the kernel had no more to give; then all of it was taken."""
        refused = self._group is not None and self._group.killed()
        if refused and self._limits.memory is not None:
            self.peak_memory = max(self.peak_memory, self._limits.memory)
        return refused


class DiskMeter:
    """Counts the bytes below folders, a little at a time, again and again."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._last = 0
        self._count = 0
        self._walk: Iterator[int] | None = None
        self._next = 0.0

    def look(self, now: float) -> int:
        """Bytes as far as known: the count under way, or the last whole one if that is more."""
        if self._walk is None and now >= self._next:
            self._walk, self._count = _sizes(self._folders), 0
        if self._walk is not None:
            sizes = list(islice(self._walk, DISK_STEP))
            self._count += sum(sizes)
            if len(sizes) < DISK_STEP:
                self._walk, self._last, self._next = None, self._count, now + DISK_EVERY
        return max(self._last, self._count)


def slept() -> float:
    """Seconds this machine has been suspended since it started, where that can be known."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boottime is None else time.clock_gettime(boottime) - time.monotonic()


def _sizes(folders: Iterable[Path]) -> Iterator[int]:
    """Bytes on disk of all below folders, links not followed; one number per entry."""
    waiting = [str(folder) for folder in folders]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield _size(entry)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # folders in folders, made to hide something
                yield TOO_DEEP


def _size(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(OSError):
        return entry.stat(follow_symlinks=False).st_blocks * 512
    return 0

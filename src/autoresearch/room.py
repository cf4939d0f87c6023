"""Room to run for weeks: free disk before each attempt, a reserve for the ledger, a quiet GPU.

Where time is measured also a quiet machine: one such attempt at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from autoresearch.errors import NoRoom

RESERVE = 16 * 2**20  # bytes set aside, so that a full disk can still take the ledger's rows
FLOOR = 2 * 2**30  # free bytes below which no attempt is started
GPU_SLACK = 300  # MiB above the memory that was in use at the start
GPU_PATIENCE = 60.0  # seconds for the memory of the last attempt to come back
LOCK_PAUSE = 0.1  # seconds between two looks at a lock that another process holds


class Reserve:
    """A file that can be given up when the disk is full."""

    def __init__(self, path: Path, size: int = RESERVE) -> None:
        self.path = path
        self.size = size

    def hold(self) -> None:
        """Set the bytes aside, where there is room for them."""
        if self.path.exists() and self.path.stat().st_size == self.size:
            return
        with contextlib.suppress(OSError), self.path.open("wb") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, self.size)
            except OSError:
                self.path.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Free the bytes; whether there were any."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


def check_disk(folder: Path, floor: int) -> None:
    """NoRoom when less than `floor` bytes are free where a folder is."""
    free = shutil.disk_usage(folder).free
    if free < floor:
        raise NoRoom(
            f"{free / 2**30:.2f} GiB are free in {folder}, and no attempt is started below "
            f"{floor / 2**30:.2f}. Make room, or lower limits.free_disk_gb in task.toml."
        )


class GpuGuard:
    """Waits until the memory of the attempt before has come back; idle without nvidia-smi."""

    def __init__(
        self,
        patience: float = GPU_PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience = patience
        self._sleep = sleep
        self._baseline = gpu_memory()

    def wait(self) -> None:
        """Return when all GPUs are back at their baseline; NoRoom when they are not in time."""
        waited = 0.0
        while busy := self._busy():
            if waited >= self._patience:
                raise NoRoom(
                    f"GPU {busy[0]} still holds {busy[1]:,} MiB, {waited:.0f} s after the last "
                    f"attempt, and held {self._baseline[busy[0]]:,} when the study was opened. See "
                    "`nvidia-smi` for whose they are."
                )
            self._sleep(1.0)
            waited += 1.0

    def _busy(self) -> tuple[int, int] | None:
        now = gpu_memory() if self._baseline else []
        for index, (used, before) in enumerate(zip(now, self._baseline, strict=False)):
            if used > before + GPU_SLACK:
                return index, used
        return None


@contextlib.contextmanager
def alone(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock that all studies of this user share; `on_wait` is told once who holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        if not take_lock(stream):
            stream.seek(0)
            on_wait(stream.read().strip() or "another process")
            while not take_lock(stream):
                time.sleep(LOCK_PAUSE)
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        yield


def take_lock(stream: IO[str]) -> bool:
    """Whether it is ours now; the kernel lets it go when this process ends, however it ends."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def gpu_memory() -> list[int]:
    """MiB in use on each NVIDIA GPU; empty where there is none to ask."""
    if shutil.which("nvidia-smi") is None:
        return []
    words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout
        return [int(line) for line in said.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def machine_load() -> float | None:
    """Processes that want to run, averaged over a minute; None where it is not counted."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None

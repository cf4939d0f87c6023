"""Disk space to run for weeks: a floor before each run, and a reserve for the ledger."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from autoresearch.errors import NoRoom

RESERVE = 16 * 2**20  # bytes set aside, so that a full disk can still take the ledger's rows
FLOOR = 2 * 2**30  # free bytes below which no run is started


class Reserve:
    """A file that is deleted to make room when the disk is full."""

    def __init__(self, path: Path, size: int = RESERVE) -> None:
        self.path = path
        self.size = size

    def hold(self) -> None:
        """Write the file if the disk has room for it."""
        if self.path.exists() and self.path.stat().st_size == self.size:
            return
        with contextlib.suppress(OSError), self.path.open("wb") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, self.size)
            except OSError:
                self.path.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Delete the file; whether it was there."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


def check_disk(folder: Path, floor: int) -> None:
    """Raise NoRoom when less than `floor` bytes are free on a folder's disk."""
    free = shutil.disk_usage(folder).free
    if free < floor:
        raise NoRoom(
            f"{free / 2**30:.2f} GiB are free in {folder}, and no run is started below "
            f"{floor / 2**30:.2f}. Make room, or lower limits.free_disk_gb in task.toml."
        )
